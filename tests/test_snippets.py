"""What README, landing page and guide print is run as it stands, and must be better than the classifier alone."""

import re
from pathlib import Path

import pretrained
import pytest
import timm
import torch
from torch import nn

from submasking.worlds import datasets

ROOT = Path(__file__).resolve().parents[1]
README, LANDING, GUIDE = ROOT / "README.md", ROOT / "book" / "index.md", ROOT / "book" / "mask_your_model.md"
EPOCHS = 13  # of 808 digits
MARGIN = 0.03  # half of the smallest seen over three seeds
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]


def blocks(page: Path) -> list[tuple[int, str]]:
    """Python that a page prints: the number of the line before each block, and its code without the page's indent."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^( *)```python\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [(text[: m.start(2)].count("\n"), re.sub(f"^{m[1]}", "", m[2], flags=re.MULTILINE)) for m in found]


def run(page: Path, names: dict) -> dict:
    for line, code in blocks(page):
        exec(compile("\n" * line + code, str(page), "exec"), names)
    return names


SMALL = [pytest.param(name, marks=[] if name == "resnet" else pytest.mark.slow) for name in sorted(pretrained.SMALL)]


@pytest.fixture(params=SMALL)
def family(request, monkeypatch):
    """The pages ask timm for pretrained weights, which are a download; they get a small network pretrained here."""

    def create_model(name, *, pretrained: bool, num_classes: int) -> nn.Module:
        assert timm.models.is_model_pretrained(name)
        assert pretrained
        return build(request.param, num_classes)

    build = pretrained.build
    monkeypatch.setattr(timm, "create_model", create_model)
    return request.param


def digits(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    rendered = datasets.render("digits", split, 1000, pretrained.SIZE)
    return pretrained.pixels(rendered.images), rendered.labels


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    images, labels = digits("train")
    shuffled = [batch for _ in range(EPOCHS) for batch in torch.randperm(len(labels)).split(50)]
    return [(images[batch], labels[batch]) for batch in shuffled]


def accuracy(model: nn.Module) -> float:
    images, labels = digits("test")
    with torch.no_grad():
        return float((model.eval()(images).argmax(1) == labels).float().mean())


def classifier_alone(family: str) -> float:
    """Accuracy of the network as it is, its new classifier trained with the same learning rate in as many steps.

    The better of two: the running statistics of norms stay, or follow the task as they do where masks are learned.
    """
    found = []
    for mode in (False, True):
        model = pretrained.build(family, 10).requires_grad_(False).train(mode)
        classifier = model.get_classifier().requires_grad_(True)
        optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1, momentum=0.9)
        steps = batches()
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(steps))
        for images, labels in steps:
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        found.append(accuracy(model))
    return max(found)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_lines_of_the_readme_beat_the_classifier_alone(family, seed):
    torch.manual_seed(seed)
    alone = classifier_alone(family)
    torch.manual_seed(seed)
    names = run(README, {"batches": batches()})
    assert names["masking"].sparsity() > 0
    assert not any(name.endswith("_scores") for name in names["model"].state_dict())
    masked = accuracy(names["model"])
    print(f"{family}, seed {seed}: classifier alone {alone:.3f}, with masks {masked:.3f}")
    assert masked > alone + MARGIN


def test_the_landing_page_prints_the_lines_of_the_readme():
    assert [code for _, code in blocks(LANDING)] == [code for _, code in blocks(README)]
    assert len(blocks(README)) == 1


def test_the_guide_runs_in_order_and_beats_the_classifier_alone(family, capsys):
    assert len(blocks(GUIDE)) >= 5
    names = run(GUIDE, {})
    alone, masked = map(float, re.search(r"classifier alone (\S+), with masks (\S+)", capsys.readouterr().out).groups())
    assert masked > alone + MARGIN
    assert alone == pytest.approx(names["accuracy"](names["alone"]), abs=5e-4)
