"""A mask that is coded against another task's: where its masks are given, or what is done where they cannot be."""

import pytest
import torch
from safetensors.torch import save_file
from test_maskfile import adapted, images, small

from submasking import Bank, MaskFileError, Shelf, maskfile
from submasking.commands.cli import main
from submasking.tasks.heads import linear_head

SAID = r"mask file of checksum \w+; pass that file's masks as sibling= of TaskFile\.apply, TaskFile\.masks"


@pytest.fixture(params=["none", "variance"])
def pair(request, tmp_path):
    """The folder of a task and of one that is coded against it, and the handle of the latter."""
    first, second = (adapted(seed=seed, rescale=request.param) for seed in (1, 2))
    base = maskfile.save(tmp_path / "first.safetensors", first, head=linear_head(6, 3, seed=1), classes=list("abc"))
    maskfile.save(
        tmp_path / "second.safetensors", second, head=linear_head(6, 2, seed=2), classes=list("de"), sibling=base,
        sibling_masks=first.masks(),
    )  # fmt: skip
    return tmp_path, second


def saved_anew(folder):
    """What the message says helps a shelf or a command, done as somebody would do it."""
    model = small()
    base, task = (maskfile.load(folder / f"{name}.safetensors") for name in ("first", "second"))
    task.apply(model, sibling=base.masks(model.state_dict()))
    return maskfile.save(folder / "second.safetensors", model, head=task.head(), classes=task.classes)


def test_a_bank_takes_the_masks_of_a_sibling(pair):
    folder, second = pair
    bank = Bank(small())
    bank.add("first", folder / "first.safetensors")
    with pytest.raises(MaskFileError, match=SAID + r" or Bank\.add; "):
        bank.add("second", folder / "second.safetensors")
    with pytest.raises(MaskFileError, match=r"the sibling that it was saved with|damaged|cannot be read"):
        bank.add("second", folder / "second.safetensors", sibling=second.masks())
    assert list(bank.tasks) == ["first"]
    bank.add("second", folder / "second.safetensors", sibling=bank.masks("first"))
    assert torch.equal(bank.use("second")(images()), second.model(images()))


def test_a_shelf_is_given_a_file_without_a_sibling(pair):
    folder, second = pair
    shelf = Shelf(Bank(small()), folder, held=1)
    before = shelf.use("first")(images())
    with pytest.raises(MaskFileError, match=SAID + ".*; for a shelf or a command, lay it on its backbone so, and save"):
        shelf.use("second")
    assert shelf.bank.current == "first"
    assert torch.equal(shelf.bank.model(images()), before)
    task = saved_anew(folder)
    assert not task.sibling
    assert task.classes == ("d", "e")
    assert torch.equal(shelf.use("second")(images()), second.model(images()))
    assert torch.equal(shelf.bank.logits("second", images()), linear_head(6, 2, seed=2)(second.model(images())))


def test_a_comparison_is_given_a_file_without_a_sibling(pair, capsys):
    folder, _ = pair
    save_file(small().state_dict(), folder / "weights")
    asked = ["compare", *(str(folder / f"{name}.safetensors") for name in ("first", "second"))]
    asked += ["--weights", str(folder / "weights")]
    assert main(asked) == 1
    assert "for a shelf or a command, lay it on its backbone so, and save that anew" in capsys.readouterr().err
    saved_anew(folder)
    assert main(asked) == 0
