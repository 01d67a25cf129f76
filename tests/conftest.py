"""Shared by all tests: one thread, hypothesis profiles, results in a temporary folder, never the project's own."""

import os
import shutil

# before torch is imported: tests run side by side
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("dev", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), max_examples=50, derandomize=True)
settings.register_profile("intense", parent=settings.get_profile("dev"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

# files that take longest come first, or a worker is left alone with one of them at the end
LONGEST = (
    "test_site", "test_book", "test_experiments", "test_snippets", "test_cli", "test_tables", "test_runs", "test_sets",
    "test_every_model", "test_live", "test_stages", "test_architectures",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Order the files; tests of a file stay as they are."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REQUIRED = os.environ.get("SUBMASKING_REQUIRE_BROWSER") == "1"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        if REQUIRED:
            pytest.fail("no chromium on this machine, and SUBMASKING_REQUIRE_BROWSER=1 asks for one")
        pytest.skip("no chromium on this machine (on Debian or Ubuntu: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def smoke_results(tmp_path_factory):
    """Folder for results of profile smoke, shared by the tests of one worker: backbones are trained there once."""
    folder = tmp_path_factory.mktemp("results")
    before = os.environ.get("SUBMASKING_RESULTS")
    os.environ["SUBMASKING_RESULTS"] = str(folder)
    yield folder
    if before is None:
        del os.environ["SUBMASKING_RESULTS"]
    else:
        os.environ["SUBMASKING_RESULTS"] = before
