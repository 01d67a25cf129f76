"""Pictures out of a published archive, or out of the folder that somebody has unpacked it to, one after the other.

A file of the archive is read, never written: whatever paths an archive has, nothing can escape from it.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

LARGEST = 200_000_000  # bytes of one picture's file; the largest of SUN397 has under 30 million
DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError,
    RuntimeError,  # of a zip archive that asks for a password
)  # fmt: skip


def pictures(place: Path, inside: str, wanted: Mapping[str, int]) -> Iterator[tuple[int, str, bytes]]:
    """Number, name and content of each wanted picture, in the order in which they lie there.

    Args:
        place: a tar archive, packed or not, a zip archive, or the unpacked folder of pictures itself.
        inside: the archive's folder of pictures; of no matter for a folder.
        wanted: names of pictures below that folder, and their numbers.

    Raises:
        ValueError: the place is damaged or cut off, or a wanted picture is not in it.
    """
    if place.is_dir():
        found = _of_folder(place, wanted)
    else:
        found = (_of_zip if zipfile.is_zipfile(place) else _of_tar)(place, f"{inside}/", wanted)
    missing = dict(wanted)
    try:
        for name, content in found:
            if name in missing:  # an archive may hold a file twice
                yield missing.pop(name), name, content
            if not missing:  # the rest of a large archive is not read
                return
    except DAMAGE as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{place} must be a whole archive, but is cut off or damaged ({said}); fetch it again"
        ) from error
    first = next(iter(missing))
    raise ValueError(
        f"{place} must hold the pictures of the split file, but {len(missing):,} of {len(wanted):,} are not in it, such"
        f" as {inside}/{first}; it is another archive, or an incomplete one"
    )


def _of_folder(place: Path, wanted: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    for name in wanted:
        path = place / name
        if path.is_file():
            yield name, path.read_bytes()


def _of_zip(place: Path, before: str, wanted: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(place) as archive:
        for entry in archive.infolist():
            name = entry.filename.removeprefix("./")
            if name.startswith(before) and name.removeprefix(before) in wanted:
                _require_small(entry.file_size, name)
                yield name.removeprefix(before), archive.read(entry)  # which checks its sum


def _of_tar(place: Path, before: str, wanted: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(place, "r|*") as archive:  # as a stream: the largest has 39 GB
        for entry in archive:
            name = entry.name.removeprefix("./")
            if not (entry.isreg() and name.startswith(before)) or name.removeprefix(before) not in wanted:
                continue
            _require_small(entry.size, name)
            if (file := archive.extractfile(entry)) is not None:
                yield name.removeprefix(before), file.read()


def _require_small(size: int, name: str) -> None:
    if size > LARGEST:
        raise OSError(f"{name} has {size:,} bytes, no picture of these data sets has more than {LARGEST:,}")
