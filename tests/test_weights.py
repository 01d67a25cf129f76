"""Weights load whatever their file is called and whatever stands before their names; else one line says what helps."""

import json
import pickle
import random
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from submasking import mask
from submasking.files import store, weights
from submasking.files.guesses import guesses

PREFIXES = ["module.", "_orig_mod.", "model.", "backbone.", "encoder.", "trunk.", "visual.", "net.", "student.", "f.0."]
KEYS = ["state_dict", "model", "model_state", "model_ema", "teacher", "ema", "weights"]
STACKS = st.lists(st.sampled_from(PREFIXES), max_size=4).map("".join)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 5))


def with_head(tensors):
    return {name: value.clone() for name, value in tensors.items()} | {"fc.weight": torch.ones(7, 4)}


def loaded(path):
    """A network of other weights after loading."""
    module = network(seed=1)
    weights.load(module, path)
    return module.state_dict()


def equal(found, wanted):
    return all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One path for all examples of a property; its name says nothing of the content."""
    return tmp_path_factory.mktemp("weights") / "file.weights"


def written(path, tensors, kind):
    path.unlink(missing_ok=True)  # a file that is mapped into memory is not written over
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")


KINDS = st.sampled_from(["safetensors", "zip", "pickle"])


@given(KINDS, STACKS, st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64]), st.booleans())
def test_any_stack_of_prefixes_in_any_precision_is_understood(kept, kind, prefix, precision, counted):
    wanted = network().state_dict()
    tensors = {
        prefix + name: value.to(precision) if value.is_floating_point() else value
        for name, value in with_head(wanted).items()
        if counted or "num_batches" not in name
    }
    written(kept, tensors, kind)
    found = loaded(kept)
    assert all(value.dtype == wanted[name].dtype for name, value in found.items())
    rounded = {n: v.to(precision).to(v.dtype) if v.is_floating_point() else v for n, v in wanted.items()}
    assert equal(found, rounded)


@given(st.sampled_from(["zip", "pickle"]), st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True), STACKS)
def test_a_network_nested_in_a_checkpoint_is_found(kept, kind, keys, prefix):
    wanted = network().state_dict()
    content = {prefix + name: value for name, value in with_head(wanted).items()}
    for key in keys:
        content = {key: content, "epoch": 3, "optimizer": {"state": {0: {"momentum_buffer": torch.ones(4, 3, 3, 3)}}}}
    written(kept, content, kind)
    assert equal(loaded(kept), wanted)


@pytest.mark.parametrize("name", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_wrappers_amid_names_are_understood(kept, name):
    wanted = network().state_dict()
    written(kept, {key.replace(".", f".{name}.", 1): value for key, value in wanted.items()}, "safetensors")
    assert equal(loaded(kept), wanted)


def test_two_networks_are_not_chosen_between_unless_they_are_the_same(kept):
    first, second = network().state_dict(), network(seed=2).state_dict()
    written(kept, {"student": first, "teacher": second}, "zip")
    with pytest.raises(ValueError, match=r"several that fit: student\., teacher\.; save the one you mean"):
        loaded(kept)
    written(kept, {"model": first, "ema": {name: value.clone() for name, value in first.items()}}, "zip")
    assert equal(loaded(kept), first)
    written(kept, first | {"ema": second}, "zip")
    assert equal(loaded(kept), first)


def spoilt(change):
    """The state of a network with its first convolution changed."""
    tensors = {name: value.clone() for name, value in network().state_dict().items()}
    return tensors | {"0.weight": change(tensors["0.weight"])}


def put(number):
    def change(value):
        value[1, 2, 0, 1] = number
        return value

    return change


SPOILT = {
    "int8": (lambda w: (w * 100).to(torch.int8), r"0\.weight in .* is torch\.int8"),
    "uint8": (lambda w: (w * 100).to(torch.uint8), r"0\.weight in .* is torch\.uint8"),
    "int64": (lambda w: (w * 100).long(), r"0\.weight in .* is torch\.int64"),
    "bool": (lambda w: w > 0, r"0\.weight in .* is torch\.bool"),
    "float8": (lambda w: w.to(torch.float8_e4m3fn), r"0\.weight in .* is torch\.float8"),
    "packed": (lambda w: w.to(torch.uint8).flatten()[:54, None].contiguous(), r"0\.weight is torch\.uint8 \(54, 1\)"),
    "complex": (lambda w: w.to(torch.complex64), r"0\.weight in .* is torch\.complex64"),
    "nan": (put(float("nan")), r"0\.weight in .* has 1 that are not \(NaN or infinity\)"),
    "infinity": (put(float("-inf")), r"0\.weight in .* has 1"),
    "too large for float32": (lambda w: put(1e300)(w.double()), r"0\.weight in .* has 1"),
    "another shape": (lambda w: w[:, :1].contiguous(), r"0\.weight is \(4, 1, 3, 3\), not \(4, 3, 3, 3\)"),
    "sparse": (lambda w: w.to_sparse(), "dense"),
    "meta": (lambda w: w.to("meta"), "dense"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_are_no_weights_is_refused_by_the_tensors_name(kept, name):
    change, said = SPOILT[name]
    for kind in ("zip",) if name in ("sparse", "meta") else ("safetensors", "zip"):
        written(kept, spoilt(change), kind)
        before = network(seed=1).state_dict()
        module = network(seed=1)
        with pytest.raises(ValueError, match=said) as refused:
            weights.load(module, kept)
        assert str(kept) in str(refused.value)
        assert equal(module.state_dict(), before)


def test_names_that_do_not_fit_are_shown_beside_those_expected(kept):
    written(kept, {f"blocks.{i}.attn": torch.ones(2) for i in range(3)}, "safetensors")
    with pytest.raises(ValueError, match=r"blocks\.0\.attn, .* expected are 8 such as 0\.weight, .*check the model's"):
        loaded(kept)


def page(path):
    path.write_text("<!DOCTYPE html><html><head><title>Sign in</title></head></html>")


def error_of_a_store(path):
    path.write_text('\n<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>')


def pointer(path):
    path.write_text("version https://git-lfs" + ".example/spec/v1\noid sha256:0123\nsize 12\n")


def folder(path):
    path.mkdir()
    (path / "model.safetensors").write_bytes(b"")


def objects(path):
    torch.save({"model": network().state_dict(), "args": random.Random(0)}, path)


def old_objects(path):
    torch.save({"args": random.Random(0)}, path, _use_new_zipfile_serialization=False)


def whole_network(path):
    torch.save(network(), path)


def program(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("net/constants.pkl", "net/data.pkl", "net/code/__torch__.py"):
            archive.writestr(name, b"")


def archive_of_others(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/readme.txt", "words")


def half(kind):
    def write(path):
        written(path, network().state_dict(), kind)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])

    return write


NO_WEIGHTS = {
    "a pointer of Git LFS": (pointer, "git lfs pull"),
    "a web page": (page, "is a web page"),
    "a store's error": (error_of_a_store, "is a web page"),
    "text": (lambda path: path.write_text("no tensors"), "is text"),
    "text with accents": (lambda path: path.write_text("é" * 400), "is text"),
    "JSON": (lambda path: path.write_text(json.dumps({"metadata": {"total_size": 1}})), "is text"),
    "nothing": (lambda path: path.write_bytes(b""), "is empty"),
    "noise": (lambda path: path.write_bytes(random.Random(0).randbytes(900)), "no kind that is known"),
    "a folder": (folder, r"is a folder, which holds model\.safetensors"),
    "no file": (lambda path: None, "there is none"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(99)), "unpack it first"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5"),
    "objects": (objects, r"Python objects \(random\.Random\).*anybody's code.*torch\.save"),
    "objects of old": (old_objects, r"Python objects \(random\.Random\)"),
    "a whole network": (whole_network, r"Python objects \(torch\.nn\.modules\.\w+\.\w+\)"),
    "a plain pickle": (lambda path: path.write_bytes(pickle.dumps({"a": [1.0]})), "pickle of other things"),
    "no tensors": (lambda path: torch.save({"epoch": 3}, path), "holds no tensors"),
    "a program": (program, "TorchScript"),
    "another archive": (archive_of_others, "zip archive of other things"),
    "half a safetensors file": (half("safetensors"), "cut off"),
    "half of what torch.save wrote": (half("zip"), "cut off"),
    "half of what it wrote of old": (half("pickle"), "cut off"),
}


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", NO_WEIGHTS)
def test_a_file_without_weights_is_told_for_what_it_is(tmp_path, name, ending):
    write, said = NO_WEIGHTS[name]
    path = tmp_path / f"w{ending}"
    write(path)
    with pytest.raises(ValueError, match=said) as refused:
        loaded(path)
    assert str(path) in str(refused.value)
    assert "delete" not in str(refused.value)
    assert "\n" not in str(refused.value)


@given(KINDS, st.data())
def test_damage_is_nothing_or_a_fault_that_names_the_file(kept, kind, data):
    written(kept, with_head(network().state_dict()), kind)
    content = bytearray(kept.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    kept.unlink()
    kept.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    said = outcome(kept)
    assert not said or str(kept) in said


def outcome(path):
    try:
        loaded(path)
    except ValueError as refused:
        return str(refused)
    return ""


def test_a_flipped_bit_in_what_torch_save_wrote_is_noticed(kept):
    written(kept, network().state_dict(), "zip")
    content = bytearray(kept.read_bytes())
    start = bytes(content).index(network().state_dict()["0.weight"].numpy().tobytes())
    content[start + 5] ^= 4
    kept.write_bytes(content)
    with pytest.raises(ValueError, match="does not fit its checksum"):
        loaded(kept)


def test_a_store_says_so_when_it_is_given_another_kind_of_file(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"must be a safetensors file, but is what torch\.save writes; convert it"):
        store.read(tmp_path / "w.safetensors")


def test_guesses_meet_the_network_under_any_prefix(kept):
    wanted = network().state_dict()
    written(kept, {"state_dict": {"module." + name: value for name, value in with_head(wanted).items()}}, "zip")
    found = list(guesses(kept, "3.weight"))
    assert [set(tensors) == set(wanted) for tensors in found] == [False, True]
    assert equal({name: value.tensor() for name, value in found[1].items()}, wanted)


def test_a_checkpoint_of_a_masked_model_is_no_backbone(tmp_path):
    def network():
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))

    model = network()
    mask(model, "weights")
    torch.save({"module." + name: value for name, value in model.state_dict().items()}, tmp_path / "masked.pt")
    with pytest.raises(ValueError, match=r"is a checkpoint of a masked model: '0\.weight' has scores"):
        weights.load(network(), tmp_path / "masked.pt")


@pytest.mark.parametrize("before", ["", "module.", "a.b."])
def test_a_network_that_is_not_finite_is_not_told_to_be_several(tmp_path, before):
    model = nn.Linear(3, 2)
    broken = {before + "weight": torch.full((2, 3), torch.nan), before + "bias": torch.zeros(2)}
    torch.save(broken, tmp_path / "broken.pth")
    with pytest.raises(ValueError, match="weights must be finite numbers"):
        weights.load(model, tmp_path / "broken.pth")
