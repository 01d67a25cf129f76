"""The library without its extras, in an environment of its own: what an engineer gets from `pip install submasking`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).parent / "uv"
USE = """
import copy, sys
import submasking

assert "torch" not in sys.modules, "import submasking must not wait for torch"
import torch
from torch import nn

torch.manual_seed(0)
layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
backbone = nn.Sequential(*layers).eval()
images, labels = torch.randn(32, 3, 8, 8), torch.arange(32) % 4
model = copy.deepcopy(backbone)
masking = submasking.mask(model, "weights")
optimizer = masking.optimizer(lr=20.0)
for _ in range(5):
    nn.functional.cross_entropy(model.train()(images), labels).backward()
    optimizer.step()
    optimizer.zero_grad()
assert masking.sparsity() > 0
submasking.maskfile.save("task.safetensors", masking, classes=("a", "b", "c", "d"))
wanted = model.eval()(images)
other = copy.deepcopy(backbone)
submasking.maskfile.load("task.safetensors").apply(other)
assert torch.equal(other.eval()(images), wanted)
bank = submasking.Bank(backbone)
bank.add("first", "task.safetensors")
assert torch.equal(bank.use("first")(images), wanted)
from submasking.learning.adapt import adapt  # the training loop, for anybody's backbone and images
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """An environment with the package and what it requires, and a folder to work in."""
    folder = tmp_path_factory.mktemp("alone")
    surroundings = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}

    def run(*words, code=0):
        found = subprocess.run([*map(str, words)], cwd=folder, env=surroundings, capture_output=True, text=True)
        assert found.returncode == code, found.stderr
        return found

    run(UV, "venv", "--quiet", "--python", sys.executable, folder / "env")
    python = folder / "env" / "bin" / "python"
    run(UV, "pip", "install", "--quiet", "--python", python, "--constraint", ROOT / "requirements.lock", ROOT)
    run.python, run.command, run.folder = python, folder / "env" / "bin" / "submasking", folder
    return run


def test_no_package_of_an_extra_is_brought(alone):
    listed = json.loads(alone(UV, "pip", "list", "--python", alone.python, "--format", "json").stdout)
    names = {package["name"].replace("-", "_") for package in listed}
    assert {"torch", "numpy", "safetensors", "constriction", "numba", "jaxtyping", "tqdm"} <= names
    assert not names & {"timm", "torchvision", "open_clip_torch", "pandas", "scikit_learn", "matplotlib", "papermill"}


def test_a_model_is_masked_trained_saved_loaded_and_banked(alone):
    alone(alone.python, "-W", "error", "-c", USE)


def test_verbs_that_need_no_extra_work_and_the_others_name_theirs(alone):
    alone(alone.python, "-c", USE)
    assert "switched off" in alone(alone.command, "inspect", "task.safetensors").stdout
    for words in (["mask", "photos", "--model", "timm:resnet18", "--out", "x"], ["predict", "task.safetensors", "x"]):
        said = alone(alone.command, *words, code=1).stderr
        assert "pip install 'submasking[vision]'" in said
        assert "Traceback" not in said
