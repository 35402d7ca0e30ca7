"""Ignore files: none of ours hides data from DVC, and `check` says which rule of a user's does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.ignored import hidden_data

Document = dict[str, Any]


@pytest.fixture
def repository(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the ignore files of this one and data that were added by hand, so that DVC need not run."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    folder = tmp_path / "repository"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text("")
    (folder / "data/raw/mine/mlartifacts").mkdir(parents=True)
    (folder / "data/raw/mine/mlartifacts/a.txt").write_text("a")
    (folder / "data/raw/mine.dvc").write_text(
        "outs:\n- md5: f34a0f305e17a301983cb94d2f884dce.dir\n  size: 2\n  nfiles: 1\n  hash: md5\n  path: mine\n"
    )
    for name in (".gitignore", ".dvcignore"):
        (folder / name).write_text((root / name).read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def replaced(file: Path, before: str, after: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


def test_nothing_is_hidden_by_the_ignore_files_of_the_repository(repository: Path) -> None:
    assert hidden_data(repository, ["data/raw/mine", "data/raw/digits"]) == []


@pytest.mark.parametrize("paths", [["data/raw/mine"], []], ids=["named in params.yaml", "with a .dvc file alone"])
def test_the_old_line_is_named_with_the_one_that_replaces_it(paths: list[str], repository: Path) -> None:
    replaced(repository / ".gitignore", "\n/data/raw/?*\n", "\n/data/raw/*\n")
    (found,) = hidden_data(repository, paths)
    assert found.startswith("data/raw is hidden from DVC by a rule of .gitignore")
    assert found.endswith("write `/data/raw/?*` in the place of `/data/raw/*` in .gitignore")


def test_it_is_named_before_the_first_data_are_added(repository: Path) -> None:
    replaced(repository / ".gitignore", "\n/data/raw/?*\n", "\n/data/raw/*\n")
    (repository / "data/raw/mine.dvc").unlink()
    assert len(hidden_data(repository, ["data/raw/digits"])) == 1


@pytest.mark.parametrize(
    ("file", "rule", "place"),
    [
        (".gitignore", "data", "data is"),
        (".gitignore", "*.dvc", "data/raw/mine.dvc is"),
        (".git/info/exclude", "/data/", "data is"),
        (".dvcignore", "mlartifacts/", "data/raw/mine/mlartifacts is"),
        (".dvcignore", "/data/raw/m*", "data/raw/mine is"),
    ],
)
def test_any_rule_that_hides_data_is_found_as_dvc_reads_it(file: str, rule: str, place: str, repository: Path) -> None:
    path = repository / file
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text(encoding="utf-8") if path.is_file() else "") + f"\n{rule}\n", encoding="utf-8")
    (found,) = hidden_data(repository, ["data/raw/mine"])
    assert found.startswith(f"{place} hidden from DVC by a rule of ")


def test_a_folder_without_dvc_has_nothing_hidden(tmp_path: Path) -> None:
    assert hidden_data(tmp_path, ["data/raw/mine"]) == []


def test_check_warns_and_still_calls_the_file_sound(
    repository: Path, tiny: Document, save: Callable[..., Path], call: Any
) -> None:
    save(tiny, repository)
    replaced(repository / ".gitignore", "\n/data/raw/?*\n", "\n/data/raw/*\n")
    done = call(repository, "check")
    assert done.returncode == 0 and done.stdout.startswith("check: params.yaml is sound")
    assert done.stderr.startswith("data/raw is hidden from DVC") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", [".gitignore", ".dvcignore"])
def test_rules_are_anchored_so_that_they_hide_no_data_of_that_name(name: str, root: Path) -> None:
    lines = [line for line in (root / name).read_text(encoding="utf-8").splitlines() if line and line[0] not in "#"]
    made = (".*.pipeline-new", ".*.pipeline-old", ".*.pipeline-part")  # what stages leave half made; nobody's data
    assert lines and all(line.lstrip("!").startswith("/") for line in lines if line not in made), lines
