"""What must hold for every workflow file: pinned actions, few permissions, and nothing that only YAML knows."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.commands.retrain import BRANCHES

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))


def workflow(name: str) -> dict[Any, Any]:
    document = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    document["on"] = document.pop(True)  # YAML 1.1 reads the key `on` as a truth value
    return dict(document)


def steps(document: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in document["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_actions_are_pinned_to_commits_and_say_their_version(path: Path) -> None:
    uses = re.findall(r"uses:(.*)", path.read_text(encoding="utf-8"))
    assert uses
    for line in uses:
        assert re.fullmatch(r" actions/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line), line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_steps_only_call_what_also_runs_on_a_desk(path: Path) -> None:
    commands = [step["run"] for step in steps(workflow(path.name)) if "run" in step]
    assert commands
    for line in commands:  # one command, without a value that GitHub pastes into the shell
        assert re.fullmatch(r"(make|\.venv/bin/python -m pipeline)( [a-z]+)+", line), line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_job_can_write_more_than_it_has_to(path: Path) -> None:
    document = workflow(path.name)
    assert document["permissions"] in ({}, {"contents": "read"})
    granted = {name: job["permissions"] for name, job in document["jobs"].items() if "permissions" in job}
    expected = {"retrain": {"contents": "write", "pull-requests": "write"}} if path.stem == "retrain" else {}
    assert granted == expected
    checkouts = [step for step in steps(document) if "actions/checkout" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_a_retraining_does_not_start_the_next_one() -> None:
    push = workflow("retrain.yml")["on"]["push"]
    assert not any(fnmatch(f"{BRANCHES}main", branch) for branch in push["branches"])
    merged = ["dvc.lock", "metrics/digits.json", "search/.gitignore"]  # what merging its pull request changes
    assert not [path for path in merged for pattern in push["paths"] if fnmatch(path, pattern)]


def test_one_retraining_at_a_time_and_none_is_thrown_away() -> None:
    concurrency = workflow("retrain.yml")["concurrency"]
    assert concurrency == {"group": "retrain-${{ github.ref }}", "cancel-in-progress": False}


def test_only_publishing_and_proposing_see_the_token() -> None:
    document = workflow("retrain.yml")
    names = [step["run"].split()[-1] for step in steps(document) if "token" in str(step.get("env", "")).lower()]
    assert names == ["publish", "propose"]
    assert "env" not in document and list(document["jobs"]["retrain"]["env"]) == ["PIP_EXTRA_INDEX_URL"]


def test_ci_runs_on_every_supported_python_and_on_macos() -> None:
    matrix = workflow("ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    assert {"system": "macos-latest", "python": "3.12"} in matrix["include"]
