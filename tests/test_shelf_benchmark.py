"""The benchmark of the shelf fills a folder with what it says and measures every use."""

from benchmarks import shelf
from submasking import maskfile


def test_a_row_says_what_was_used(tmp_path, monkeypatch):
    monkeypatch.setitem(shelf.CASES, shelf.SMALL, (2, 2, 3))
    row = shelf.serve(shelf.SMALL, 5)
    assert (row["tasks"], row["held"], row["uses"]) == (5, 2, 3)
    assert min(row["first_ms"], row["full_mib"], row["end_mib"], row["file_bytes"]) > 0
    size, weights = shelf.fill(tmp_path, shelf.SMALL, 5, 2)
    files = sorted(tmp_path.iterdir())
    tasks = [maskfile.load(file) for file in files]
    assert len(files) == 5
    assert len({task.checksum for task in tasks}) == 2
    assert (size, weights) == (row["file_bytes"], row["weights"])
    assert size == round(sum(file.stat().st_size for file in files[:2]) / 2)
