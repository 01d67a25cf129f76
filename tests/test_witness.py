"""The benchmark that trains the authors' module beside ours: with another module of the same behaviour, and of none."""

import pytest

from benchmarks import __main__ as program
from benchmarks import witness
from benchmarks.ways import PeerError

# the same behaviour in other words: masks made in every forward pass, gradients passed through to the scores
MODULE = """
import torch
from torch import nn


class SubmaskedModel(nn.Module):
    def __init__(self, model, parameter_selection, scale, scores_init, shell_mode):
        super().__init__()
        self.model, self.scale, self.scores, self.names = model, scale, nn.ParameterDict(), {{}}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter_selection(name, parameter) == "train")
            if parameter_selection(name, parameter) == "mask":
                self.names[name] = name.replace(".", "_")
                self.scores[self.names[name]] = nn.Parameter(torch.zeros_like(parameter))
                scores_init(self.scores[self.names[name]], parameter)

    def forward(self, images):
        effective = {{}}
        for name, kept in self.names.items():
            scores = self.scores[kept]
            mask = (scores > {threshold}).to(scores.dtype) + scores - scores.detach()
            weights = self.model.get_parameter(name)
            effective[name] = (weights / mask.mean().sqrt() if self.scale else weights) * mask
        return torch.func.functional_call(self.model, effective, (images,))
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(witness, "LR", 5000.0)
    monkeypatch.setattr(witness, "BATCH", 4)
    path = tmp_path / "submasking.py"
    path.write_text(MODULE.format(threshold=0))
    return path


@pytest.mark.parametrize("rescale", ["none", "variance"])
def test_a_module_that_does_the_same_has_the_same_masks(file, rescale):
    (row,) = witness.measure(witness.load(file), (witness.Case("resnet18", "float64", rescale),), steps=4)
    assert row["equal_steps"] == row["steps"] == 4
    assert row["differing"] == 0
    assert row["sparsity"] > 0.001
    assert row["weights"] == 11_166_912
    assert row["ratio_authors"] > 0


def test_another_threshold_is_seen(file):
    file.write_text(MODULE.format(threshold=0.5))
    (row,) = witness.measure(witness.load(file), (witness.Case("resnet18", "float32", "none"),), steps=4)
    assert row["equal_steps"] < 4
    assert row["differing"] > 0


@pytest.mark.parametrize(
    "content", ["", "raise OSError('no such thing')", "import nowhere_to_be_found", "SubmaskedModel = 3"]
)
def test_another_file_is_refused_in_a_line(file, content):
    file.write_text(content)
    with pytest.raises(PeerError, match="--authors must") as error:
        witness.load(file)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(PeerError, match="--authors must be the authors'"):
        witness.load(tmp_path / "submasking.py")


@pytest.mark.parametrize("words", [["witness"], ["codec", "--authors", "file.py"]])
def test_the_table_and_its_file_belong_together(words, capsys):
    with pytest.raises(SystemExit):
        program.read(words)
    assert "--authors" in capsys.readouterr().err


def test_without_the_file_all_tables_are_all_others():
    assert "witness" not in program.read([]).tables
    assert "witness" in program.read(["--authors", "file.py"]).tables
