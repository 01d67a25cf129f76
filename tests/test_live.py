"""The live page computes what Python computes: masks bit for bit, numbers of a file too, classes of test images."""

import base64
import copy
import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from playwright.sync_api import Error
from test_codec import learned

from submasking.learning.batches import as_float
from submasking.records import predictions, results
from submasking.records.places import LIVE, committed_folder
from submasking.tasks import codec, container, maskfile, packing
from submasking.worlds import datasets, networks

SCRIPTS = LIVE.parent
VECTORS = Path(__file__).parent / "vectors"
TASKS = [path.stem for path in sorted(LIVE.glob("*.safetensors")) if path.stem not in ("backbone", "images")]
COUNT = 200  # test images of each task
HELPERS = """
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);
const places = (off) => Object.fromEntries(
  Object.entries(off).map(([name, bits]) => [name, [...bits.keys()].filter((k) => bits[k])]));
const plain = (read) => Object.fromEntries(
  Object.entries(read).map(([name, { shape, values }]) => [name, [shape, Array.from(values, Number)]]));
"""


def text(content):
    return base64.b64encode(content).decode()


def file(name):
    return text((LIVE / f"{name}.safetensors").read_bytes())


@pytest.fixture(scope="module")
def page(browser):
    opened = browser.new_page()
    for name in ("coder", "container", "factors", "codec", "network"):
        opened.add_script_tag(path=SCRIPTS / f"{name}.js")
    opened.add_script_tag(content=HELPERS)
    opened.evaluate(
        """async (text) => {
          const { description, parts } = await live.open(bytes(text));
          globalThis.backbone = await live.unpacked(description.state, parts.values);
        }""",
        file("backbone"),
    )
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def trunk():
    content = container.read(LIVE / "backbone.safetensors")
    state = packing.unpacked(content.description["state"], content.tensors["values"].data)
    made = networks.trunk(content.description["architecture"], 24)
    made.load_state_dict(state)
    return made.eval()


def test_the_backbone_is_the_one_that_the_masks_belong_to_bit_for_bit(page, trunk):
    state = trunk.state_dict()
    assert all(maskfile.load(LIVE / f"{name}.safetensors").fits(state) for name in TASKS)
    sums = """() => Object.fromEntries(Object.entries(backbone).map(([name, { values }]) => {
      const { buffer, byteOffset, length } = values;
      const words = values instanceof Float32Array ? new Uint32Array(buffer, byteOffset, length) : values;
      return [name, Array.from(words, Number).reduce((sum, word) => (sum * 31 + word) % 4294967291, 0)];
    }))"""
    assert page.evaluate(sums) == {name: hashed(value) for name, value in state.items()}


def hashed(value):
    words = value.contiguous().reshape(-1)
    words = words.view(torch.int32).numpy().view(np.uint32) if value.is_floating_point() else words.numpy()
    found = 0
    for word in words.tolist():
        found = (found * 31 + word) % 4294967291
    return found


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """The test images of a task, by name; what is rendered is kept in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUBMASKING_RESULTS", str(tmp_path_factory.mktemp("results")))
        yield lambda name: datasets.load("tiny", name, "test")


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_decoded_bit_for_bit_and_predicts_what_python_predicts(page, trunk, rendered, name):
    task, images = maskfile.load(LIVE / f"{name}.safetensors"), rendered(name)
    record = results.read_one(committed_folder("tiny") / results.record_path("rn50-timm", name, "FS", 100, 0))
    assert images.fingerprint() == record.test["images"]
    assert task.score["top1"] == record.metrics["top1"]
    chosen = images.images[:COUNT]
    found = page.evaluate(TASK, [file(name), text(chosen.numpy().tobytes())])
    masks = task.masks(trunk.state_dict())
    assert found["off"] == {key: np.flatnonzero(~mask.numpy()).tolist() for key, mask in masks.items()}
    logits = torch.tensor(found["logits"])
    assert len(logits) == COUNT
    assert logits.argmax(1).tolist() == predictions.unpack(record.predictions["top1"])[:COUNT]
    masked, mean, std = copy.deepcopy(trunk), *(task.preprocessing[key][0] for key in ("mean", "std"))
    task.apply(masked)
    with torch.no_grad():
        wanted = task.head()(masked.eval()((as_float(chosen) - mean) / std))
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-4)


def test_the_images_shown_are_the_first_of_each_test_set(rendered):
    content = container.read(LIVE / "images.safetensors")
    shown = packing.unpacked(content.description["images"], content.tensors["values"].data)
    assert sorted(shown) == TASKS
    for task in content.description["tasks"]:
        images, count = rendered(task["name"]), len(task["labels"])
        assert torch.equal(shown[task["name"]], images.images[:count])
        assert task["labels"] == images.labels[:count].tolist()


TASK = """async ([text, images]) => {
  const opened = await live.open(bytes(text)), pixels = bytes(images), size = 3 * 24 * 24, logits = [];
  const weights = Object.fromEntries(Object.keys(opened.description.mask.tensors).map((key) => [key, backbone[key]]));
  const off = await live.decode(opened.parts.mask, weights), beside = await live.beside(opened);
  const state = live.masked(backbone, beside, off);
  for (let at = 0; at < pixels.length; at += size) {
    const one = pixels.subarray(at, at + size);
    logits.push([...live.logits(one, state, beside.head, opened.description.preprocessing)]);
  }
  return { off: places(off), logits };
}"""

CASES = {
    "vectors, scalars and padding": ({"a": (5,), "b": (), "c": (1, 1), "d": (7, 5, 3, 3), "e": (130, 4)}, 0.9),
    "half are off": ({"a": (33, 70), "b": (16, 8, 3, 3), "c": (300,)}, 0.5),
    "few are off": ({"a": (64, 32, 3, 3), "b": (40, 64)}, 0.99),
    "sixteen stages": ({"a": (520, 510)}, 0.95),
    "double precision": ({"a": (6, 16500)}, 0.9),
}
DECODE = """async ([coded, weights]) => {
  const tensors = Object.entries(weights).map(([name, [shape, values]]) => [name, { shape, values: floats(values) }]);
  return places(await live.decode(bytes(coded), Object.fromEntries(tensors)));
}"""


@pytest.mark.parametrize("scale", [1.0, 1e38, 0.0, math.nan])
@pytest.mark.parametrize("case", CASES)
def test_masks_of_odd_shapes_and_weights_are_decoded_bit_for_bit(page, case, scale):
    weights, masks = learned(*CASES[case])
    weights = {name: value * scale for name, value in weights.items()}
    masks |= {"on": torch.ones(4, 40, dtype=torch.bool), "off": torch.zeros(9, dtype=torch.bool)}
    weights |= {"on": torch.ones(4, 40), "off": torch.ones(9)}
    given = {name: [list(value.shape), text(value.numpy().tobytes())] for name, value in weights.items()}
    found = page.evaluate(DECODE, [text(codec.encode(masks, weights)), given])
    assert found == {name: np.flatnonzero(~mask.numpy()).tolist() for name, mask in masks.items()}


@pytest.mark.parametrize("path", sorted(VECTORS.glob("format-*.safetensors")), ids=lambda path: path.stem)
def test_numbers_beside_a_mask_are_read_bit_for_bit_in_either_format(page, path):
    task = maskfile.load(path)
    read = """async (text) => {
      const { state, head } = await live.beside(await live.open(bytes(text)));
      return [plain(state), plain(head)];
    }"""
    wanted = [
        {name: [list(value.shape), value.double().flatten().tolist()] for name, value in part.items()}
        for part in (task.state, task.head_state)
    ]
    assert page.evaluate(read, text(path.read_bytes())) == wanted


def test_what_is_no_mask_file_is_an_error(page):
    foreign = safetensors.torch.save({"a": torch.zeros(2)})
    with pytest.raises(Error, match="format 1 or 2, it has undefined"):
        page.evaluate("(text) => live.open(bytes(text))", text(foreign))
    with pytest.raises(Error, match="version 3, got 9"):
        page.evaluate("() => live.decode(Uint8Array.of(9), {})")
