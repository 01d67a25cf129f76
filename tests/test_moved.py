"""Old names of modules lead to the modules of today."""

import importlib
import subprocess
import sys

import pytest

from submasking._moved import MOVED


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_name_gives_the_module_of_today_with_a_warning(old):
    sys.modules.pop(f"submasking.{old}", None)
    with pytest.warns(DeprecationWarning, match=f"submasking.{old} is now submasking.{MOVED[old]}"):
        found = importlib.import_module(f"submasking.{old}")
    today = importlib.import_module(f"submasking.{MOVED[old]}")
    if old == "data":
        assert found.load is today.load
    else:
        assert found is today


PROGRAM = """
from submasking import maskfile
from submasking.bank import Bank
from submasking.codec import stream
from submasking.data.folder import decoded
from submasking.invariance.rules import SGD
from submasking.maskfile import TaskFile
import submasking, submasking.selection
import submasking.tasks.codec.stream as today
assert stream is today and submasking.Bank is Bank and submasking.TaskFile is TaskFile
"""


def test_old_imports_of_every_form_work_in_a_new_process():
    subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], check=True)


def test_every_public_name_is_there_and_listed():
    import submasking

    assert set(submasking.__all__) <= set(dir(submasking))
    for name in submasking.__all__:
        assert getattr(submasking, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        submasking.nonsense  # noqa: B018


def test_importing_the_library_does_not_wait_for_torch():
    program = (
        "import sys, submasking; assert 'torch' not in sys.modules; submasking.mask; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
