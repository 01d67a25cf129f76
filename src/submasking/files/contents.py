"""What a weights file is by its content, whatever its name says, and in words what it is where it holds no weights."""

from __future__ import annotations

import zipfile
from enum import Enum
from pathlib import Path

from safetensors import safe_open

MASK_FILE = "submasking"  # in the metadata of a safetensors file: it is a task of this project
LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit
# how files begin that are taken for weights, what they are, and what helps
OTHERS = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the weights themselves; run `git lfs pull` beside it"),
    (b"/annex/objects/", "is a pointer of git-annex, not the weights themselves; run `git annex get` beside it"),
    (b"\x1f\x8b", "is packed by gzip; unpack it first"),
    (b"BZh", "is packed by bzip2; unpack it first"),
    (b"\xfd7zXZ", "is packed by xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is packed by zstd; unpack it first"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes them; convert its tensors to safetensors"),
    (b"GGUF", "is a GGUF file, whose weights are quantised as a rule; take the float weights"),
    (b"\x93NUMPY", "is a single array of NumPy; put the tensors in a safetensors file, by name"),
)


class Kind(Enum):
    """A kind of file that holds tensors by name."""

    SAFETENSORS = "safetensors"
    ZIP = "what torch.save writes"
    PICKLE = "what torch.save wrote before version 1.6"


def kind(path: Path) -> Kind:
    """The kind of a weights file.

    Raises:
        ValueError: it is none; the message says what it is instead, and what helps.
    """
    try:
        if path.is_dir():
            raise _refused(path, _folder(path))
        if not path.is_file():
            raise ValueError(f"weights must be a file, there is none at {str(path)!r}; check the name")
        with path.open("rb") as file:
            start, size = file.read(512), path.stat().st_size
    except OSError as error:
        raise _refused(path, f"cannot be read ({error})") from error
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST_HEADER:
        if 8 + int.from_bytes(start[:8], "little") > size:
            raise _refused(path, "is cut off, or damaged; fetch it again")
        return Kind.SAFETENSORS
    if start.startswith(b"PK\x03\x04"):
        _require_whole(path)
        return Kind.ZIP
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return Kind.PICKLE
    raise _refused(path, _words(start))


def require_safetensors(path: Path) -> None:
    """Raise `ValueError` unless a file is a safetensors file by its content."""
    if (found := kind(path)) is not Kind.SAFETENSORS:
        raise ValueError(f"{path} must be a safetensors file, but is {found.value}; convert it")


def bears(path: Path, mark: str) -> bool:
    """Whether a file is a safetensors file with a mark in its metadata, such as `MASK_FILE`."""
    try:
        with safe_open(path, framework="numpy") as file:
            return mark in (file.metadata() or {})
    except Exception:  # the reader's own kinds of errors: whatever it is, it has no such mark
        return False


def damaged(path: Path, error: Exception) -> ValueError:
    """What to raise where a safetensors file is not what it declares."""
    return ValueError(
        f"{path} must be a readable safetensors file, but is cut off or damaged ({error}); fetch or make it again"
    )


def _refused(path: Path, what: str) -> ValueError:
    return ValueError(f"{path} must be a readable file of weights (safetensors, or of torch.save), but {what}")


def _folder(folder: Path) -> str:
    """That it is a folder, with the first file in it that may be meant."""
    found = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".pth", ".pt", ".bin"))
    meant = [path.name for path in found if not bears(path, MASK_FILE)]
    if found and not meant:
        return f"is a folder, which holds {found[0].name}, a mask file and no weights; name the file of the weights"
    return f"is a folder{f', which holds {meant[0]}' if meant else ''}; name the file in it"


def _words(start: bytes) -> str:
    if not start:
        return "is empty; fetch it again"
    for beginning, what in OTHERS:
        if start.startswith(beginning):
            return what
    try:
        text = start.decode().lower().lstrip()
    except UnicodeDecodeError as error:
        text = start[: error.start].decode().lower().lstrip() if error.start > len(start) - 4 else ""
    if text.startswith(("<!doctype", "<html", "<?xml")):
        return "is a web page: the address leads to a page about it, or to an error; fetch the file itself"
    if text and "\0" not in text:
        return "is text; fetch the file of weights itself"
    return "is of no kind that is known here, or damaged; convert it, or fetch it again"


def _require_whole(path: Path) -> None:
    """Refuse a zip archive that is damaged, or that torch.save did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
            damaged = archive.testzip()  # torch maps the file into memory, and so checks no sums
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    except Exception as error:  # zipfile raises nearly anything when it meets damage
        raise _refused(path, f"is cut off, or damaged ({error}); fetch it again") from error
    if damaged:
        raise _refused(path, f"is damaged ({damaged} does not fit its checksum); fetch it again")
    if "constants.pkl" in names:
        raise _refused(
            path, "is a TorchScript program; save its weights: torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        )
    if "data.pkl" not in names or packed:
        raise _refused(path, "is a zip archive of other things; unpack it first")
