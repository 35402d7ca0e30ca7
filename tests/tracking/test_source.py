"""The source of a run: what was not committed can be applied again, and no password leaves the machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.params import Tracking
from pipeline.tracking import source
from pipeline.tracking.address import address_of
from pipeline.tracking.client import connect, experiment_id
from pipeline.tracking.machine import installed, packages_of, requirements_text
from pipeline.tracking.outputs import planned_runs
from pipeline.tracking.source import COMMITTED, PARAMS, PATCH, PATCHED, REQUIREMENTS, SOURCE, snapshot
from pipeline.tracking.sync import sync

PASSWORD = "correct-horse"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    snapshot.cache_clear()
    source.origin_tags.cache_clear()
    yield
    snapshot.cache_clear()
    source.origin_tags.cache_clear()


@pytest.fixture
def tree(repository: Path) -> Path:
    """A Git repository with one commit, and the working directory."""
    (repository / ".gitignore").write_text("/mlflow.db*\n/mlartifacts/\n*.tmp\n")
    (repository / "params.yaml").write_text(f"tracking:\n  uri: postgresql://me:{PASSWORD}@host/runs\n")
    (repository / "pipeline").mkdir()
    (repository / "pipeline/code.py").write_text("one = 1\n")
    (repository / "picture.bin").write_bytes(bytes(range(256)))
    git(repository, "init", "-q", "-b", "main")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "First")
    return repository


def test_a_clean_tree_needs_its_commit_alone(tree: Path) -> None:
    found = snapshot(tree)
    assert found.said == COMMITTED
    assert set(found.files) == {PARAMS, REQUIREMENTS}


def test_what_was_not_committed_can_be_applied_to_the_commit(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    git(tree, "config", "diff.noprefix", "true")
    git(tree, "config", "color.ui", "always")
    (tree / "pipeline/code.py").write_text("one = 2\n")
    (tree / "pipeline/new ä.py").write_text("new = True\n")
    (tree / "pipeline/scratch.tmp").write_text("ignored")
    (tree / "notes.txt").write_text("not at a place that the pipeline reads\n")
    (tree / "picture.bin").write_bytes(bytes(reversed(range(256))))
    before = git(tree, "status", "--porcelain")
    found = snapshot(tree)
    assert found.said == PATCHED
    assert git(tree, "status", "--porcelain") == before, "the index is left as it is"
    place = tmp_path_factory.mktemp("elsewhere")
    git(tree, "worktree", "add", "--detach", str(place / "tree"))
    (place / "patch").write_bytes(found.files[PATCH])
    git(place / "tree", "apply", str(place / "patch"))
    assert (place / "tree/pipeline/code.py").read_text() == "one = 2\n"
    assert (place / "tree/pipeline/new ä.py").read_text() == "new = True\n"
    assert (place / "tree/picture.bin").read_bytes() == bytes(reversed(range(256)))
    assert not (place / "tree/pipeline/scratch.tmp").exists() and not (place / "tree/notes.txt").exists()


def test_passwords_are_left_out_of_params_yaml(tree: Path) -> None:
    (tree / "params.yaml").write_text(
        f"tracking:\n  uri: http://me:{PASSWORD}@host:5000  # ours\nseed: 1\n"
        f"study:\n  storage: postgresql://host/studies?user=me&password={PASSWORD}&connect=3\n"
    )
    found = snapshot(tree)
    assert found.files[PARAMS].decode() == (
        "tracking:\n  uri: http://host:5000  # ours\nseed: 1\n"
        "study:\n  storage: postgresql://host/studies?user=me&password=***&connect=3\n"
    )
    assert found.said == COMMITTED, "params.yaml is kept as a whole, beside the patch"
    assert not any(PASSWORD.encode() in content for content in found.files.values())


def test_a_difference_that_names_a_password_is_not_stored(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "pipeline/code.py").write_text(f"password = {PASSWORD!r}\n")
    found = snapshot(tree)
    assert PATCH not in found.files
    assert found.said == "incomplete: what was not committed names a password, which shall not be stored"
    snapshot.cache_clear()
    monkeypatch.setenv("MY_API_TOKEN", "abc-def-ghi")
    (tree / "pipeline/code.py").write_text("token = 'abc-def-ghi'\n")
    assert snapshot(tree).said.startswith("incomplete: what was not committed names a password")


@pytest.mark.parametrize("address", ["http://host/a?sig=abc%2Bdef", "https://abcdefgh@host/a", "http://me:abc@host/a"])
@pytest.mark.parametrize("removed", [False, True])
def test_a_difference_with_a_credential_in_an_address_is_not_stored(tree: Path, address: str, removed: bool) -> None:
    """Such as the dvc.lock of a download, whether the address comes or goes."""
    (tree / "dvc.lock").write_text(f"url: {address}\n")
    git(tree, "add", "-A")
    if removed:
        git(tree, "commit", "-q", "-m", "Second")
        (tree / "dvc.lock").write_text("url: http://host/a\n")
    found = snapshot(tree)
    assert found.said.startswith("incomplete: what was not committed names a password") and PATCH not in found.files


def test_credentials_of_dvc_and_environment_files_are_left_out(tree: Path) -> None:
    for name in (".dvc/config", ".env", "metrics/digits.json", "key.pem"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text("before\n")
    git(tree, "add", "-f", ".dvc/config", ".env", "metrics/digits.json", "key.pem")
    git(tree, "commit", "-q", "-m", "Second")
    for name in (".dvc/config", ".env", "metrics/digits.json", "key.pem"):
        (tree / name).write_text("secret\n")
    assert snapshot(tree).said == COMMITTED


def test_a_difference_beyond_the_limit_is_not_stored(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LIMIT", 2**20)
    (tree / "pipeline/table.py").write_text("x" * (2**20 + 1))
    found = snapshot(tree)
    assert PATCH not in found.files
    assert found.said == "incomplete: what was not committed has 1.0 MiB, more than 1 MiB"


def test_without_git_the_source_is_unknown(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository.parent))
    assert snapshot(repository).said == "unknown: no commit, because this is no Git repository or an empty one"


def test_requirements_are_read_as_they_were_written() -> None:
    packages = installed()
    assert packages["pytest"] and not any("+" in version for version in packages.values())
    assert packages_of(requirements_text(packages)) == packages


def test_runs_from_files_get_the_present_source_only_where_code_and_data_fit(
    tree: Path, fake_outputs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = fake_outputs.write_prepared(tree, "digits")
    fake_outputs.write_search(tree, "digits", "digits-cnn", "fits", data=card["data"])
    monkeypatch.setattr(source, "code_digest", lambda *starts, root: "c" * 64)
    address = address_of(Tracking(uri=None, artifacts=None), tree)
    client = connect(address)
    place = experiment_id(client, address, "digits", "")
    sync(client, place, planned_runs("digits", ["digits-cnn"]), tree)
    fake_outputs.write_search(tree, "digits", "digits-cnn", "other data", data="e" * 64)
    sync(client, place, planned_runs("digits", ["digits-cnn"]), tree)
    monkeypatch.setattr(source, "code_digest", lambda *starts, root: "d" * 64)
    fake_outputs.write_search(tree, "digits", "digits-cnn", "other code", data=card["data"])
    sync(client, place, planned_runs("digits", ["digits-cnn"]), tree)
    runs = {run.data.tags["pipeline.key"]: run for run in client.search_runs([place], "tags.`pipeline.kind` = 'tune'")}
    fits = runs["fits"].data.tags
    assert fits["mlflow.source.git.commit"] == git(tree, "rev-parse", "HEAD").strip()
    assert fits[SOURCE] == COMMITTED and fits["pipeline.python"].startswith("3.")
    assert {file.path for file in client.list_artifacts(runs["fits"].info.run_id, "source")} == {PARAMS, REQUIREMENTS}
    for key, reason in (("other data", "its data are not those"), ("other code", "its code is not the one")):
        tags = runs[key].data.tags
        assert tags[SOURCE].startswith(f"unknown: {reason}") and "mlflow.source.git.commit" not in tags
        assert client.list_artifacts(runs[key].info.run_id, "source") == []
