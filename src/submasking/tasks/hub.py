"""Mask files in the conventions of the hub libraries: a folder, or a repository, with a model card."""

from __future__ import annotations

import json
import re
from pathlib import Path

from submasking.files import atomic
from submasking.tasks import maskfile
from submasking.tasks.maskfile import TaskFile

FILE = "mask.safetensors"
CARD = "README.md"
FRONT = "---\nlibrary_name: submasking"


def export(path: str | Path, folder: str | Path) -> Path:
    """Put a mask file and a model card made from it into a folder; returns the folder.

    Raises:
        MaskFileError: the file is damaged or foreign.
        ValueError: the folder is a file, or holds a README.md that is no model card of ours, or another task without
            any, or one of other classes; it stays as it was then.
    """
    task, folder = maskfile.load(path), Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"a task is shared as a folder; {folder} is a file; name a new folder")
    if (folder / CARD).exists() and not (folder / CARD).read_bytes().startswith(FRONT.encode()):
        raise ValueError(f"a model card must not replace other text; {folder / CARD} is no card; name a new folder")
    whole = Path(path).read_bytes()
    if (folder / FILE).exists() and not (folder / CARD).exists() and (folder / FILE).read_bytes() != whole:
        raise ValueError(
            f"a folder of a task must be new, or hold one that was shared before; {folder / FILE} is another and has no"
            f" {CARD} beside it; name a new folder"
        )
    other = _classes(folder / FILE)
    if other is not None and other != task.classes:
        raise ValueError(
            f"a folder of a task may be shared anew for the same classes; {folder / FILE} is of {len(other)}, first"
            f" {next(iter(other), '')!r}, and the task of {len(task.classes)}, first {next(iter(task.classes), '')!r};"
            " name a new folder"
        )
    atomic.write(folder / FILE, whole)
    atomic.write(folder / CARD, card(task))
    return folder


def _classes(path: Path) -> tuple[str, ...] | None:
    """Names of the classes of the task that lies there; None where there is none that can be read."""
    try:
        return maskfile.load(path).classes
    except maskfile.MaskFileError:
        return None


def card(task: TaskFile) -> str:
    """A model card in Markdown, its front matter in YAML (JSON values are YAML)."""
    front = [FRONT, "tags: [submasking, image-classification]"]
    if task.provenance.get("dataset"):
        front.append(f"datasets: [{json.dumps(str(task.provenance['dataset']))}]")
    sizes, backbone = task.sizes(), {name: _plain(str(value)) for name, value in task.backbone.items()}
    lines = [
        *front,
        "---",
        "",
        f"# A task on {backbone['architecture'] or 'a frozen backbone'}",
        "",
        f"{len(task.classes)} classes. The file holds which weights of the backbone are switched off"
        f" ({sizes['coded_bytes']:,} bytes), its adapted norm buffers ({sizes['buffers_bytes']:,}) and the head"
        f" ({sizes['head_bytes']:,}); the backbone itself ({backbone['weights'] or 'weights without a name'},"
        f" fingerprint `{backbone['fingerprint']}`) is not in it.",
        "",
        "```python",
        "from submasking import hub",
        "",
        "task = hub.pull(FOLDER_OR_REPOSITORY)",
        "masking = task.apply(backbone)  # in place",
        "head = task.head()",
        "```",
    ]
    lines += ["", "| measure | value |", "|---|---|"] if task.score else []
    lines += [f"| {_plain(name)} | {value:.4f} |" for name, value in task.score.items()]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text of a file as one line of Markdown that is nothing but text: no markup, link or HTML."""
    line = " ".join(text.split())
    return re.sub(r"[\\`*\[\]<>|!#&]", lambda found: f"&#{ord(found[0])};", line)


def pull(source: str | Path, *, revision: str | None = None) -> TaskFile:
    """Read a mask file from a folder, or from a repository "user/name" of the Hugging Face hub.

    Raises:
        MaskFileError: the file is damaged or foreign.
        ValueError: there is no such folder, and the repository cannot be reached.
    """
    folder = Path(source)
    if folder.is_dir():
        return maskfile.load(folder / FILE)
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(str(source), FILE, revision=revision)
    except Exception as error:  # whatever the hub's client raises, offline or for a wrong name
        raise ValueError(
            f"{str(source)!r} is no folder here, and no repository that can be reached ({type(error).__name__}); check"
            " the name and the network"
        ) from error
    return maskfile.load(path)


def push(folder: str | Path, repository: str) -> str:
    """Upload what `export` put into a folder, and nothing else of it, to the Hugging Face hub; returns the address.

    Raises:
        ValueError: the folder holds no mask file, or the upload failed (no network, no login).
    """
    maskfile.load(Path(folder) / FILE)
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(repository, exist_ok=True)
        return str(api.upload_folder(folder_path=str(folder), repo_id=repository, allow_patterns=[FILE, CARD]))
    except Exception as error:  # whatever the hub's client raises
        raise ValueError(
            f"{repository!r} could not be pushed to ({error}); check the network and your login"
        ) from error
