"""What GitHub is to do: pinned, without rights that it does not need, nothing that cannot be done by hand."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def workflow(request):
    return yaml.safe_load(request.param.read_text())


def test_there_are_tests_a_site_and_a_release():
    assert [file.stem for file in FILES] == ["release", "site", "tests"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_action_is_pinned_by_its_commit_and_says_its_version(file):
    used = re.findall(r"uses: (.+)", file.read_text())
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_a_job_has_the_rights_it_names_a_limit_of_time_and_no_others(workflow):
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert "permissions" in job
        assert "timeout-minutes" in job


def test_what_is_called_is_there(workflow):
    lines = "\n".join(step.get("run", "") for step in steps(workflow))
    made = {target for words in re.findall(r"^make (.+)", lines, re.MULTILINE) for target in words.split()}
    assert made <= TARGETS
    assert all((ROOT / name).exists() for name in re.findall(r"bash (\.ci/\w+)", lines))


def test_the_pythons_begin_with_the_oldest_that_the_package_takes():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]
    pythons = jobs["pythons"]["strategy"]["matrix"]["python"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert pythons[0] == project["requires-python"].removeprefix(">=")
    said = [name.split()[-1] for name in project["classifiers"] if re.search(r"Python :: 3\.", name)]
    assert said == pythons
