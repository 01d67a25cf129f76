"""Strangers' files: a sample of `python -m benchmarks readers`, and what a file could reach beside its reader."""

import ast
import json
import pickle
from pathlib import Path

import pytest
from PIL import EpsImagePlugin, Image

from benchmarks import fuzz, readers
from submasking import TaskFile, hub, mask, maskfile
from submasking.commands import apply
from submasking.commands.cli import main
from submasking.experiments import notebooks
from submasking.files import store
from submasking.records import predictions, results
from submasking.worlds import libraries, pictures
from submasking.worlds.paper.data import rendering

ROOT = Path(__file__).resolve().parents[1]


def test_every_strangers_file_is_read_or_refused_by_an_error_that_names_it():
    rows = {row["reader"]: row for row in readers.measure(60, seed=1)}
    assert rows.keys() == readers.READERS.keys()
    for name, row in rows.items():
        assert row["refused"] > 0, name
        assert row["read"] > 0 or name == "weights, a pickle with code", name
    assert rows["weights, a pickle with code"]["read"] == 0


def test_a_reader_that_unpickles_would_be_caught(monkeypatch):
    monkeypatch.setitem(
        readers.READERS,
        "weights, a pickle with code",
        readers.Reader(readers._coded, lambda path: pickle.loads(path.read_bytes())),
    )
    with pytest.raises(AssertionError, match="left something behind"):
        readers.measure(5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "../../x"), ("model", ".."), ("dataset", "/etc"), ("dataset", ""), ("method", "a/b"),
        ("variant", "/../x"), ("seed", "1/../../x"), ("metrics", [1]), ("labels", True), ("layers", None),
    ],
)  # fmt: skip
def test_no_record_leads_out_of_its_folder(tmp_path, field, value):
    path = tmp_path / "stranger.json"
    path.write_text(json.dumps(json.loads(readers._record(0, tmp_path)) | {field: value}))
    with pytest.raises(ValueError, match=f"{field} must be of kind|{field} must be a name and no path"):
        results.read_one(path)


def test_predictions_that_would_fill_the_memory_are_refused():
    bomb = predictions.pack([0] * (predictions.MOST // 2 + 1))
    assert len(bomb) < predictions.MOST / 100
    with pytest.raises(ValueError, match="longer than"):
        predictions.unpack(bomb)


def test_an_archive_with_a_password_is_refused_by_one_error(tmp_path):
    path = tmp_path / "set.zip"
    content = bytearray(readers._archive(0, tmp_path, packed="zip"))
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(start)
        while at >= 0:
            content[at + flags] |= 1
            at = content.find(start, at + 1)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"set\.zip must be a whole archive"):
        readers._read_archive(path)


@pytest.mark.parametrize(
    "lie",
    [{"backbone": None}, {"backbone": {}}, {"masked": [1]}, {"preprocessing": []}, {"score": 1}, {"classes": None},
     {"backbone": {"architecture": 1, "weights": "", "options": {}}}, {"trained": {}}, {"rescale": []}],
)  # fmt: skip
def test_a_baked_checkpoint_with_another_description_is_refused_by_one_line(tmp_path, capsys, lie):
    path = tmp_path / "baked.safetensors"
    path.write_bytes(readers._baked(0, tmp_path))
    tensors, metadata = store.read(path)
    store.save(path, tensors, {apply._KEY: json.dumps(json.loads(metadata[apply._KEY]) | lie)})
    assert main(["apply", str(path), "--back", "--out", str(tmp_path / "out")]) == 1
    assert "must say what `submasking apply` has written" in capsys.readouterr().err


def test_no_picture_is_given_to_another_program(tmp_path, monkeypatch):
    """Pillow hands EPS to Ghostscript, whatever the file is called."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("a program was asked"))
    path = tmp_path / "holiday.jpg"
    Image.new("RGB", (8, 8)).save(path, "EPS")
    with pytest.raises(ValueError, match="must be a readable picture"):
        pictures.decoded(path, 8)
    with pytest.raises(ValueError, match="cannot identify"):
        rendering.decoded(path.read_bytes())


@pytest.mark.parametrize("option", libraries.ELSEWHERE)
def test_no_option_of_a_mask_file_says_where_weights_come_from(tmp_path, option, capsys):
    path = tmp_path / "task.safetensors"
    maskfile.save(
        path, mask(fuzz.network(), "resnet"), architecture="timm:test_resnet", options={option: "/etc/passwd"}
    )
    assert main(["apply", str(path), "--out", str(tmp_path / "out")]) == 1
    assert f"{option!r} says where weights come from" in capsys.readouterr().err


@pytest.mark.parametrize("size", [0, -1, 10**9, 1.5, "8", True])
def test_no_size_of_a_mask_file_fills_the_memory(size):
    with pytest.raises(ValueError, match="size of images must be"):
        libraries.build("timm:test_resnet", None, size=size)


def test_a_model_card_holds_no_markup_of_a_file(tmp_path):
    name = "x`\n\n# <script>alert(1)</script> [a](http://b) | ![c](d)"
    maskfile.save(tmp_path / "task", mask(fuzz.network(), "resnet"), architecture=name, score={name: 0.5})
    text = hub.card(maskfile.load(tmp_path / "task"))
    assert isinstance(maskfile.load(tmp_path / "task"), TaskFile)
    assert "<script" not in text
    assert "](" not in text
    assert "\n# &" not in text
    assert [line.count("|") for line in text.splitlines() if "0.5" in line] == [3]


@pytest.mark.parametrize("text", ["'; import os; os.system('x') #", '"""', "$(touch x)", "a\nb", "\\", "`x`", "--help"])
def test_a_parameter_reaches_a_notebook_as_the_text_that_it_is(text):
    from papermill.translators import PythonTranslator

    code = PythonTranslator.codify({"dataset": text})
    space = {}
    exec(code, space)
    assert space["dataset"] == text
    assert notebooks.coerce("dataset", "str", text) == text


SOURCES = sorted(
    path for room in ("src", "book/_ext", "benchmarks") for path in (ROOT / room).rglob("*.py")
)  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_source_unpickles_or_asks_a_shell(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    for call in calls:
        said, named = ast.unparse(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert said not in (
            "pickle.load", "pickle.loads", "pickle.Unpickler", "eval", "exec", "os.system", "os.popen", "yaml.load",
            "joblib.load", "torch.hub.load", "shutil.unpack_archive",
        )  # fmt: skip
        assert named.get("shell", "False") == "False"
        assert named.get("allow_pickle", "False") == "False"
        if said == "torch.jit.load":  # OpenAI's own two files, after their whole SHA-256
            assert path.relative_to(ROOT / "src").as_posix() == "submasking/worlds/paper/models.py"
        if said == "torch.load":
            assert named.get("weights_only") == "True"
        if said.endswith(".extractall"):
            assert named.get("filter") == "'data'"
