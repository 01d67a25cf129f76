"""Mask files: the same network comes back bit for bit, and whatever is not right with a file is said in one error."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from submasking import Bank, mask
from submasking.files import atomic
from submasking.tasks import container, maskfile
from submasking.tasks.answer import answer
from submasking.tasks.fingerprint import fingerprint
from submasking.tasks.heads import CosineHead, linear_head
from submasking.tasks.maskfile import MaskFileError

VECTORS = Path(__file__).parent / "vectors"


def small(seed=0):
    """A network with convolutions, norms and a linear layer."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, groups=2, bias=False),
            nn.BatchNorm2d(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 6),
        ).eval()  # fmt: skip


def images(n=4, seed=0):
    return torch.randn(n, 3, 9, 9, generator=torch.Generator().manual_seed(seed))


def adapted(select="weights", seed=0, density=0.8, rescale="none"):
    """A masked copy of `small` whose norms have seen other data."""
    model = small()
    masking = mask(model, select, rescale=rescale)
    g = torch.Generator().manual_seed(seed)
    masking.load_masks({name: torch.rand(s.shape, generator=g) < density for name, s in masking.scores().items()})
    model.train()
    model(images(8, seed + 1))
    model.eval()
    return masking


@pytest.fixture
def saved(tmp_path):
    masking = adapted()
    head = linear_head(6, 3, seed=0)
    path = tmp_path / "task.safetensors"
    maskfile.save(
        path, masking, head=head, classes=["a", "b", "c"], preprocessing={"size": 9}, score={"top1": 0.5},
        architecture="small", weights="seed 0", provenance={"dataset": "none", "seed": 0},
    )  # fmt: skip
    return path, masking, head


@pytest.mark.parametrize("rescale", ["none", "variance"])
@pytest.mark.parametrize("density", [0.0, 0.5, 1.0])
def test_the_same_outputs_bit_for_bit(tmp_path, density, rescale):
    masking = adapted(density=density, rescale=rescale)
    head = linear_head(6, 3, seed=0)
    task = maskfile.save(tmp_path / "task", masking, head=head)
    model = small()
    task.apply(model)
    assert torch.equal(task.head()(model(images())), head(masking.model(images())))


def test_the_same_outputs_in_a_fresh_process(saved, tmp_path):
    path, masking, head = saved
    out = tmp_path / "out.pt"
    script = (
        "import sys, torch; sys.path.insert(0, sys.argv[1]); import test_maskfile as t\n"
        "from submasking import maskfile\n"
        "model = t.small(); task = maskfile.load(sys.argv[2]); task.apply(model)\n"
        "torch.save(task.head()(model(t.images())), sys.argv[3])"
    )
    subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent), str(path), str(out)], check=True)
    assert torch.equal(torch.load(out, weights_only=True), head(masking.model(images())))


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_masks_survive_whatever_they_are(tmp_path_factory, seed, density):
    masking = adapted(seed=seed, density=density)
    path = tmp_path_factory.mktemp("files") / "task"
    masks = maskfile.save(path, masking).masks(masking.frozen())
    assert all(torch.equal(masks[name], value) for name, value in masking.masks().items())


def test_everything_said_of_a_task_is_there_again(saved):
    path, masking, _ = saved
    task = maskfile.load(path)
    assert task.classes == ("a", "b", "c")
    assert task.preprocessing == {"size": 9}
    assert task.score == {"top1": 0.5}
    assert task.provenance == {"dataset": "none", "seed": 0}
    assert task.backbone == {
        "architecture": "small", "weights": "seed 0", "options": {}, "fingerprint": fingerprint(small().state_dict()),
        "parameters": fingerprint(dict(small().named_parameters())), "said": answer(masking, {"size": 9}),
    }  # fmt: skip
    assert task.off == {name: int((~value).sum()) for name, value in masking.masks().items()}
    assert task.sizes()["file_bytes"] == path.stat().st_size > sum(task.sizes().values()) - path.stat().st_size


def test_equal_tasks_make_equal_files(saved, tmp_path):
    path, masking, head = saved
    again = tmp_path / "again"
    for _ in range(2):
        maskfile.save(
            again, masking, head=head, classes=["a", "b", "c"], preprocessing={"size": 9}, score={"top1": 0.5},
            architecture="small", weights="seed 0", provenance={"dataset": "none", "seed": 0},
        )  # fmt: skip
        assert again.read_bytes() == path.read_bytes()


def test_a_trained_classifier_belongs_to_the_task_not_to_the_backbone(tmp_path):
    def select(name, parameter):
        return "train" if name.startswith("7.") else "mask" if parameter.dim() == 4 else "freeze"

    model = small()
    masking = mask(model, select)
    with torch.no_grad():
        model[7].weight.add_(1.0)
    task = maskfile.save(tmp_path / "task", masking)
    other = small()
    with torch.no_grad():
        other[7].weight.mul_(3.0)  # a fresh classifier differs from run to run
    task.apply(other)
    assert torch.equal(other(images()), model(images()))


def test_the_backbone_comes_back_bit_for_bit(saved):
    path, _, _ = saved
    model = small()
    maskfile.load(path).apply(model).unbake()
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), small().state_dict().values(), strict=True)
    )


def test_a_task_is_laid_over_another(saved, tmp_path):
    path, masking, _ = saved
    other = maskfile.save(tmp_path / "other", adapted(seed=5))
    model = small()
    other.apply(model)
    maskfile.load(path).apply(model)
    assert torch.equal(model(images()), masking.model(images()))


def test_a_sibling_is_needed_again(tmp_path):
    first, second = adapted(seed=1), adapted(seed=2)
    base = maskfile.save(tmp_path / "base", first)
    task = maskfile.save(tmp_path / "task", second, sibling=base, sibling_masks=first.masks())
    assert task.sibling == base.checksum
    masks = task.masks(second.frozen(), sibling=base.masks(first.frozen()))
    assert all(torch.equal(masks[name], value) for name, value in second.masks().items())
    with pytest.raises(MaskFileError, match="coded against the mask file of checksum"):
        task.masks(second.frozen())
    with pytest.raises(MaskFileError, match=r"the sibling that it was saved with|damaged"):
        task.masks(second.frozen(), sibling=second.masks())


def test_a_cosine_head_is_made_again_from_the_class_names(tmp_path):
    embeddings = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    head = CosineHead(embeddings, 1.7)
    task = maskfile.save(tmp_path / "task", adapted(), head=head, classes=["a", "b", "c"])
    assert task.sizes()["head_bytes"] == 0
    again = task.head(lambda classes: embeddings[: len(classes)])
    assert torch.equal(again(torch.ones(2, 6)), head(torch.ones(2, 6)))
    with pytest.raises(MaskFileError, match="text embeddings"):
        task.head()


def test_another_backbone_is_refused_by_its_fingerprint(saved):
    with pytest.raises(MaskFileError, match=r"fingerprint.*these weights have.*load those weights"):
        maskfile.load(saved[0]).apply(small(seed=1))


def test_another_architecture_is_refused(saved):
    task = maskfile.load(saved[0])
    with pytest.raises(MaskFileError, match="belongs to the backbone small"):
        task.apply(nn.Sequential(nn.Conv2d(3, 8, 3)))
    with pytest.raises(MaskFileError, match="here it is missing"):
        task.masks({})


def test_a_model_masked_elsewhere_is_refused(saved):
    model = small()
    mask(model, lambda name, parameter: "mask" if parameter.dim() == 4 else "freeze")
    with pytest.raises(MaskFileError, match="other parameters"):
        maskfile.load(saved[0]).apply(model)


def rewritten(path, change):
    """The file with its description changed and a right checksum."""
    description, tensors, *_ = container.read(path)
    change(description)
    container.write(path, description, {name: value.data for name, value in tensors.items()})
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("mask"),
        lambda d: d["mask"].update(tensors={"0.weight": [0, -8, -3, 3, 3]}),
        lambda d: d["mask"].update(tensors=[1, 2]),
        lambda d: d["mask"].update(rescale="twice"),
        lambda d: d["mask"].update(digest=7),
        lambda d: d["head"].update(kind="quadratic"),
        lambda d: d.update(state=[["1.running_mean", "float32", 10**12]]),
        lambda d: d.update(state=[["1.running_mean", "complex", 1]]),
        lambda d: d.update(classes=None),
        lambda d: d["backbone"].pop("fingerprint"),
        lambda d: d.update(score={"top1": "high"}),
    ],
)
def test_a_description_that_makes_no_sense_is_one_error(saved, change):
    with pytest.raises(MaskFileError, match="must be a mask file of format 2"):
        maskfile.load(rewritten(saved[0], change))


def test_huge_declared_shapes_cost_nothing(saved):
    path = rewritten(saved[0], lambda d: d["mask"]["tensors"].update({"0.weight": [0, 2**40, 2**20]}))
    with pytest.raises(MaskFileError, match="of shape"):
        maskfile.load(path).masks(small().state_dict())


def test_a_later_format_says_update(saved, monkeypatch):
    path, _, _ = saved
    content = container.read(path)
    monkeypatch.setattr(container, "FORMAT", 3)
    parts = {name: value.data for name, value in content.tensors.items()}
    container.write(path.with_name("later"), content.description, parts)
    with pytest.raises(MaskFileError, match=r"must have format 1 or 2, it has '3'.*update the package"):
        maskfile.load(path.with_name("later"))


def test_a_missing_file_and_a_foreign_one_are_told_apart(tmp_path):
    with pytest.raises(MaskFileError, match="cannot be read"):
        maskfile.load(tmp_path / "none")
    with pytest.raises(MaskFileError, match="cannot be read"):
        maskfile.load(tmp_path)
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "plain")
    with pytest.raises(MaskFileError, match="but not a mask file"):
        maskfile.load(tmp_path / "plain")


def test_a_failed_write_leaves_the_old_file(saved, monkeypatch):
    path, masking, _ = saved
    before = path.read_bytes()
    monkeypatch.setattr(atomic.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        maskfile.save(path, masking)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_head_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be a plain nn.Linear or a CosineHead.*part of the model"):
        maskfile.save(tmp_path / "task", adapted(), head=nn.Sequential(nn.Linear(6, 3)))


def test_scores_must_be_finite(tmp_path):
    with pytest.raises(ValueError, match="a score must be a finite number"):
        maskfile.save(tmp_path / "task", adapted(), score={"top1": float("nan")})


def dyadic():
    """`small` with weights that need no random source, for the stored file."""
    model = small()
    with torch.no_grad():
        for value in model.state_dict().values():
            steps = torch.arange(value.numel(), dtype=torch.int64) * 2654435761 % 4093
            value.copy_((1 + steps).view(value.shape) / 4096 - (0.5 if value.is_floating_point() else 0))
    return model


@pytest.mark.parametrize("path", sorted(VECTORS.glob("format-*.safetensors")), ids=lambda path: path.stem)
def test_a_file_of_every_format_is_still_read(path):
    stored = json.loads(path.with_suffix(".json").read_text())
    task, model = maskfile.load(path), dyadic()
    assert task.checksum == stored["checksum"]
    masking = task.apply(model)
    off = {name: (~value).flatten().nonzero().flatten().tolist() for name, value in masking.masks().items()}
    assert off == stored["off"]
    assert model[1].running_mean.tolist() == stored["running_mean"]
    assert task.head().weight.tolist() == stored["head"]
    assert list(task.classes) == stored["classes"]


def test_there_is_a_stored_file_of_the_present_format():
    assert (VECTORS / f"format-{container.FORMAT}.safetensors").exists()


def test_the_fingerprint_sees_names_types_shapes_and_values_but_not_memory():
    base = {"a": torch.arange(24.0).view(1, 2, 3, 4), "b": torch.ones(2, dtype=torch.bfloat16)}
    same = {"b": base["b"].clone(), "a": base["a"].to(memory_format=torch.channels_last)}
    assert fingerprint(base) == fingerprint(same)
    others = [
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].double(), "b": base["b"]},
        {"a": base["a"].view(2, 12), "b": base["b"]},
        {"a": base["a"] + 1, "b": base["b"]},
    ]
    assert len({fingerprint(tensors) for tensors in [base, *others]}) == 5


if __name__ == "__main__":  # python tests/test_maskfile.py: write the stored file of the present format anew
    model = dyadic()
    masking = mask(model, "weights")
    masking.load_masks({
        name: (torch.arange(s.numel()) * 7919 % 101 > 17).view(s.shape) for name, s in masking.scores().items()
    })  # fmt: skip
    with torch.no_grad():
        model[1].running_mean.mul_(2)
    head = nn.Linear(6, 2)
    head.load_state_dict({"weight": torch.arange(12.0).view(2, 6) / 8, "bias": torch.ones(2)})
    path = VECTORS / f"format-{container.FORMAT}.safetensors"
    task = maskfile.save(path, masking, head=head, classes=["on", "off"], architecture="small", weights="dyadic")
    kept = {
        "checksum": task.checksum,
        "off": {name: (~value).flatten().nonzero().flatten().tolist() for name, value in masking.masks().items()},
        "running_mean": model[1].running_mean.tolist(),
        "head": head.weight.tolist(),
        "classes": ["on", "off"],
    }
    path.with_suffix(".json").write_text(json.dumps(kept) + "\n")


def headless():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


REFUSED = {
    "a lazy head": ({"head": nn.LazyLinear(2)}, "a head must have a shape; got a lazy one"),
    "a head that broke": ({"head": nn.Linear(4, 2), "nan": True}, "a head must hold finite numbers"),
    "too few names": ({"head": nn.Linear(4, 2), "classes": ["a"]}, "got 2 and 1 names"),
    "one name for all": ({"classes": "abc"}, "classes must be a list of names; got the text 'abc'"),
    "a score of nan": ({"score": {"top1": float("nan")}}, "a score must be a finite number; 'top1' is nan"),
    "a score of None": ({"score": {"top1": None}}, "a score must be a finite number; 'top1' is None"),
    "a path": ({"provenance": {"from": Path("a")}}, "provenance must be what JSON can hold; 'from' is"),
    "a mean of inf": ({"preprocessing": {"mean": [float("inf")]}}, "preprocessing must be what JSON can hold; 'mean'"),
}


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_stored_is_one_line_and_leaves_the_file_that_is_there(case, tmp_path):
    given, said = dict(REFUSED[case][0]), REFUSED[case][1]
    if given.pop("nan", False):
        given["head"] = nn.Linear(4, 2)
        nn.init.constant_(given["head"].weight, float("nan"))
    model = headless()
    mask(model, "weights")
    maskfile.save(tmp_path / "task", model)
    before = (tmp_path / "task").read_bytes()
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        maskfile.save(tmp_path / "task", model, **given)
    assert "\n" not in str(refused.value)
    assert (tmp_path / "task").read_bytes() == before


def test_a_head_for_other_features_is_refused_when_it_meets_them(tmp_path):
    def gray():  # of which nothing can be told before
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    model = gray()
    mask(model, "weights")
    maskfile.save(tmp_path / "task", model, head=nn.Linear(99, 2))
    bank = Bank(gray())
    bank.add("task", tmp_path / "task")
    with pytest.raises(ValueError, match="it takes 99, there are 4"):
        bank.logits("task", torch.zeros(1, 1, 6, 6))


@pytest.mark.parametrize("what", ["score", "provenance", "preprocessing", "options"])
@pytest.mark.parametrize("value", [[1], "abc", 3, [("a", 1)]])
def test_what_is_not_by_name_is_refused(tmp_path, what, value):
    with pytest.raises(ValueError, match=f"{what} must be values by name; got .*; write it as"):
        maskfile.save(tmp_path / "task", adapted(), **{what: value})
    assert not (tmp_path / "task").exists()


@pytest.mark.parametrize("masks", [None, [], "abc", torch.ones(3, dtype=torch.bool)])
def test_masks_that_are_not_by_name_are_refused(masks):
    masking = adapted()
    before = masking.masks()
    with pytest.raises(ValueError, match="masks must be bool tensors by parameter name; got"):
        masking.load_masks(masks)
    assert all(torch.equal(value, before[name]) for name, value in masking.masks().items())
