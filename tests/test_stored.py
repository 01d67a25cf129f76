"""Mask files looked at without torch: the same file, masks and overlap; and two commands that need none."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from submasking import mask
from submasking.files import raw
from submasking.files.guesses import guesses
from submasking.tasks import maskfile, stored
from submasking.tasks.fingerprint import fingerprint
from submasking.tasks.maskfile import MaskFileError
from submasking.tasks.similarity import overlap, similarity

KINDS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
# torch is there to be imported, and must not be
WITHOUT = (
    "import sys; sys.modules['torch'] = None; from submasking.commands.cli import main; sys.exit(main(sys.argv[1:]))"
)


def network(seed, kind=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 5)).to(kind).eval()


def tasks(folder, seed=0, kind=torch.float32, density=0.7):
    """The weights file, and two mask files with the masks in them."""
    model, draw = network(seed, kind), torch.Generator().manual_seed(seed)
    masking, masks = mask(model, "weights"), []
    save_file(maskfile.backbone_state(masking), folder / "weights.safetensors")
    for number in range(2):
        masks.append({n: torch.rand(s.shape, generator=draw) < density for n, s in masking.scores().items()})
        masking.load_masks(masks[-1])
        maskfile.save(folder / f"{number}.safetensors", masking, head=nn.Linear(5, 2), classes=["a", "b"])
    return folder / "weights.safetensors", [folder / "0.safetensors", folder / "1.safetensors"], masks


@settings(max_examples=12)
@given(st.integers(0, 99), st.sampled_from(KINDS), st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_a_file_says_the_same_with_and_without_torch(tmp_path_factory, seed, kind, density):
    folder = tmp_path_factory.mktemp("tasks")
    weights, paths, masks = tasks(folder, seed, kind, density)
    off = []
    (found,) = [tensors for tensors in guesses(weights, "0.weight") if stored.read(paths[0]).fits(tensors)][:1]
    assert fingerprint(found) == fingerprint({name: value.tensor() for name, value in found.items()})
    for path, made in zip(paths, masks, strict=True):
        task, whole = stored.read(path), maskfile.load(path)
        assert all(getattr(whole, name) == value for name, value in vars(task).items())
        assert task.sizes() == whole.sizes()
        off.append(task.switched_off(found))
        for name, mask_ in whole.masks({name: value.tensor() for name, value in found.items()}).items():
            assert torch.equal(mask_, made[name])
            assert np.array_equal(off[-1][name], ~mask_.numpy())
    values = {name: found[name].floats() for name in off[0]}
    assert overlap(*off, values) == similarity(*masks, {name: found[name].tensor() for name in off[0]})


def test_other_weights_and_damage_are_refused_without_torch_too(tmp_path):
    weights, paths, _ = tasks(tmp_path)
    task = stored.read(paths[0])
    other = {name: raw.of(value) for name, value in network(1).state_dict().items()}
    with pytest.raises(MaskFileError, match="the task belongs to the backbone"):
        task.require(other)
    with pytest.raises(MaskFileError, match=r"the decoded mask must be the one that was saved|cannot be read"):
        task.switched_off(other)
    with pytest.raises(MaskFileError, match=r"with '0\.weight' of shape"):
        task.switched_off({"0.weight": other["3.weight"]})
    assert task.fits(next(iter(guesses(weights, "0.weight"))))
    for place in (9, 200, -3):
        content = bytearray(paths[0].read_bytes())
        content[place] ^= 4
        (tmp_path / "damaged").write_bytes(content)
        with pytest.raises(MaskFileError):
            stored.read(tmp_path / "damaged")


@given(st.sampled_from([*KINDS, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]),
       st.lists(st.integers(0, 4), max_size=3), st.integers(0, 2**31))  # fmt: skip
def test_tensors_come_and_go_bit_for_bit(tmp_path_factory, kind, sizes, seed):
    draw = torch.Generator().manual_seed(seed)
    value = (torch.randn(sizes, generator=draw) * 9).to(kind)
    path = tmp_path_factory.mktemp("raw") / "file.safetensors"
    save_file({"a": value}, path)
    (read,) = raw.read(path).values()
    assert read == raw.of(value)
    assert read.tensor().dtype == kind
    assert torch.equal(read.tensor(), value)
    if value.is_floating_point():
        assert np.array_equal(read.floats(), value.float().numpy())
    else:
        with pytest.raises(ValueError, match="floats of 16 bits or more"):
            read.floats()


def test_inspect_and_compare_answer_where_torch_cannot_be_imported(tmp_path):
    weights, paths, masks = tasks(tmp_path)

    def said(*words):
        return subprocess.run([sys.executable, "-c", WITHOUT, *map(str, words)], capture_output=True, text=True)

    looked = said("inspect", paths[0])
    assert looked.returncode == 0, looked.stderr
    assert "switched off" in looked.stdout
    compared = said("compare", *paths, "--weights", weights)
    assert compared.returncode == 0, compared.stderr
    wanted = similarity(*masks, {name: value for name, value in network(0).state_dict().items() if name in masks[0]})
    assert compared.stdout.splitlines()[1].split()[:3] == [
        f"{wanted.jaccard:.4f}", f"{wanted.corrected:.4f}", f"{wanted.z:.1f}"
    ]  # fmt: skip
    assert "torch" in said("compare", *paths).stderr  # without the weights the network has to be built
