import gzip
import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from submasking.files import archive
from submasking.files.archive import Entry

NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/"), min_size=1, max_size=120)
FILES = st.dictionaries(NAMES.map(lambda name: f"a/{name}"), st.binary(max_size=2000), max_size=5)


@given(FILES, st.integers(0, 2**33), st.sampled_from([0o644, 0o755]))
def test_what_is_packed_comes_out_and_the_same_files_give_the_same_bytes(files, time, mode):
    entries = [Entry(name, content, mode) for name, content in files.items()]
    packed = archive.packed(entries, time)
    assert packed == archive.packed(iter(entries), time)
    assert gzip.decompress(packed) == archive.joined(entries, time)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        found = [(each.name, tar.extractfile(each).read(), each.mode, each.mtime) for each in tar]
        assert {(each.uname, each.uid) for each in tar} <= {("", 0)}
    assert found == [(name, content, mode, time) for name, content in files.items()]
