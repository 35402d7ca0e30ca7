"""Rebuilding without the training: working copies, likeness, surroundings, and what cannot be rebuilt says why."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pipeline.commands.reproduce import main
from pipeline.params import ParamsError, Tracking
from pipeline.rebuild import environment as surroundings
from pipeline.rebuild import reproduce
from pipeline.rebuild.weights import Unlike, likeness
from pipeline.rebuild.worktree import Failed, Worktree, worktree
from pipeline.tracking.source import COMMITTED, PATCHED, SOURCE


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "pipeline").mkdir(parents=True)
    (folder / "pipeline/__init__.py").touch()
    (folder / "pipeline/code.py").write_text("one = 1\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "First")
    return folder


def worktrees(repository: Path) -> list[str]:
    return [line for line in git(repository, "worktree", "list", "--porcelain").splitlines() if line[:9] == "worktree "]


def test_a_working_copy_is_gone_afterwards_also_after_a_failure(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "pipeline/code.py").write_text("one = 2\n")
    with pytest.raises(KeyboardInterrupt), worktree(repository, commit) as tree:
        assert (tree.folder / "pipeline/code.py").read_text() == "one = 1\n", "the commit, not what lies there now"
        place = tree.scratch
        raise KeyboardInterrupt
    assert not place.exists()
    assert len(worktrees(repository)) == 1
    assert (repository / "pipeline/code.py").read_text() == "one = 2\n"


def test_what_a_killed_process_has_left_is_removed_by_the_next(repository: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    places = [tmp_path / f"rebuild-{owner}-x" / "tree" for owner in (process.pid, f"{process.pid}-", 1)]
    for place in [*places, tmp_path / "of the user"]:
        git(repository, "worktree", "add", "--detach", str(place))
    shutil.rmtree(places[1])
    (tmp_path / "of the user").rename(tmp_path / "not mounted")
    with worktree(repository, "HEAD"):
        assert len(worktrees(repository)) == 4, "the repository, this one, that of process 1, and the user's"
    assert not (tmp_path / f"rebuild-{process.pid}-x").exists()
    assert (tmp_path / "rebuild-1-x/tree").is_dir(), "its process lives"


def test_hooks_of_the_repository_do_not_run_for_a_working_copy(repository: Path) -> None:
    hook = repository / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {repository}/called\n")
    hook.chmod(0o755)
    with worktree(repository, "HEAD"):
        assert not (repository / "called").exists()


def test_a_commit_that_is_not_here_is_said_in_a_sentence(repository: Path) -> None:
    message = r"no commit ffffffffffff: the version comes from another repository or clone"
    with pytest.raises(Failed, match=message), worktree(repository, "f" * 40):
        pass
    assert len(worktrees(repository)) == 1


def test_a_patch_for_another_commit_does_not_fit(repository: Path, tmp_path: Path) -> None:
    (repository / "pipeline/code.py").write_text("one = 2\n")
    (tmp_path / "patch").write_text(git(repository, "diff", "HEAD") + "\n")
    with worktree(repository, "HEAD") as tree:
        tree.apply(tmp_path / "patch")
        assert (tree.folder / "pipeline/code.py").read_text() == "one = 2\n"
        with pytest.raises(Failed, match="what was not committed does not fit its commit"):
            tree.apply(tmp_path / "patch")


def test_a_patch_cannot_write_outside_of_the_working_copy(repository: Path, tmp_path: Path) -> None:
    text = (
        "diff --git a/../../out b/../../out\nnew file mode 100644\n--- /dev/null\n+++ b/../../out\n@@ -0,0 +1 @@\n+x\n"
    )
    (tmp_path / "patch").write_text(text)
    with worktree(repository, "HEAD") as tree, pytest.raises(Failed, match="does not fit"):
        tree.apply(tmp_path / "patch")


def test_code_of_a_working_copy_sees_neither_the_users_mlflow_nor_his_code(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:password@host")
    program = "import os, pipeline; print(os.environ['MLFLOW_TRACKING_URI'], list(pipeline.__path__))"
    with worktree(repository, "HEAD") as tree:
        said = tree.python("-c", program)
        assert said.startswith(f"sqlite:///{tree.scratch}/mlflow.db") and str(tree.folder) in said
        with pytest.raises(Failed, match="ValueError: not so"):
            tree.python("-c", "raise ValueError('not so')")


def write_model(folder: Path, weights: dict[str, Any], accuracy: float = 0.9) -> Path:
    folder.mkdir()
    save_file({name: torch.tensor(values) for name, values in weights.items()}, folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps({"validation": {"accuracy": accuracy}}))
    return folder


def test_the_same_bytes_are_identical(tmp_path: Path) -> None:
    folders = [write_model(tmp_path / name, {"w": [1.0, 2.0]}) for name in "ab"]
    found = likeness(*folders, "accuracy")
    assert found.identical and str(found) == "identical, byte for byte; validation accuracy 0.9"


def test_other_weights_are_measured_and_the_score_decides(tmp_path: Path) -> None:
    first = write_model(tmp_path / "a", {"w": [1.0, 2.0], "v": [0.0]})
    near = write_model(tmp_path / "b", {"w": [1.0, 2.5], "v": [0.0]}, 0.895)
    far = write_model(tmp_path / "c", {"w": [1.0, 2.5], "v": [0.0]}, 0.88)
    found = likeness(near, first, "accuracy")
    assert (found.identical, found.absolute, found.relative, found.within_tolerance) == (False, 0.5, 0.25, True)
    assert str(found) == (
        "weights differ by at most 0.5 (0.25 of the largest of their tensor), "
        "validation accuracy is 0.895 instead of 0.9 (-0.005)"
    )
    assert not likeness(far, first, "accuracy").within_tolerance


def test_a_weight_that_is_no_number_is_infinitely_far_away(tmp_path: Path) -> None:
    first, second = (write_model(tmp_path / name, {"w": [value]}) for name, value in (("a", 1.0), ("b", float("nan"))))
    assert likeness(second, first, "accuracy").absolute > 1e300


def test_other_tensors_cannot_be_compared(tmp_path: Path) -> None:
    first, second = (write_model(tmp_path / name, {name: [1.0], "w": [1.0]}) for name in "ab")
    with pytest.raises(Unlike, match="2 tensors have another shape or exist on one side only, such as a"):
        likeness(first, second, "accuracy")


def test_other_packages_and_machines_are_named_the_decisive_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "installed", lambda: {"torch": "2.13.0", "attrs": "2", "numpy": "2.1"})
    now = {"pipeline.python": "3.11.7", "pipeline.machine": "Linux, x86_64", "pipeline.capability": "AVX2"}
    monkeypatch.setattr(surroundings, "machine_tags", lambda: now)
    then = "attrs==1\nnumpy==2.1\ntorch==2.12.0\nwheel==1\n"
    tags = {**now, "pipeline.capability": "AVX512"}
    assert surroundings.changes(tags, then) == [
        "torch 2.13.0 instead of 2.12.0",
        "kernels of PyTorch AVX2 instead of AVX512",
        "attrs 2 instead of 1",
        "wheel missing instead of 1",
    ]
    assert surroundings.changes(now, "torch==2.13.0\n") == []
    assert surroundings.changes({}, None) == ["the run has not recorded its Python, packages and machine"]


def test_data_that_are_nowhere_name_every_place_that_was_looked_at(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce, "_share_cache", lambda tree, repository: None)
    asked: list[str] = []

    def python(self: Worktree, *arguments: str, **others: Any) -> str:
        asked.append(" ".join(arguments[-2:]))
        if arguments[0] == "-c":
            return json.dumps(["data/raw/digits", ["digits"]])
        if arguments[-1] == "list":
            return ""
        raise Failed("it is not there")

    monkeypatch.setattr(Worktree, "python", python)
    recorded = SimpleNamespace(experiment="digits", description={"data": "d" * 64})
    with pytest.raises(Failed) as raised:
        reproduce._prepare(recorded, Worktree(tmp_path, tmp_path), repository)  # type: ignore[arg-type]
    assert str(raised.value) == (
        "its data are nowhere any more; data/raw/digits was looked for in "
        "DVC's cache: it is not there; the download: it is not there"
    )
    assert asked[2:] == ["--quiet data/raw/digits", "fetch digits"]


def test_own_data_are_asked_for_by_the_dvc_file_that_ignore_files_of_an_old_commit_hide(tmp_path: Path) -> None:
    assert reproduce._target(tmp_path, "data/raw/mine") == "data/raw/mine"
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/mine.dvc").touch()
    for path in ("data/raw/mine", "data/raw/mine/sub/folder"):
        assert reproduce._target(tmp_path, path) == "data/raw/mine.dvc"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"key": "b", "precision": "p", "seed": 1}, "is not the one of the version: seed differ"),
        ({"key": "b", "precision": "p", "seed": 0}, "is not the one of the version: budget or trainer differ"),
    ],
)
def test_another_params_yaml_than_recorded_is_noticed(found: dict[str, Any], message: str) -> None:
    wanted = {"key": "a", "precision": "p", "seed": 0}
    with pytest.raises(Failed, match=message):
        reproduce._check_facts(wanted, found)
    reproduce._check_facts(wanted, wanted)
    reproduce._check_facts(wanted, {"key": "b", "precision": "another, because of the machine", "seed": 0})


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model `digits` and three versions, whose runs are tagged by the tests."""
    from pipeline.tracking.address import address_of
    from pipeline.tracking.client import as_default, connect

    root = tmp_path_factory.mktemp("registered")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        address = address_of(Tracking(uri=None, artifacts=None), root)
        client = connect(address)
        place = client.create_experiment("digits", (root / "mlartifacts/digits").as_uri())
        client.create_registered_model("digits")
        with as_default(address):
            for key in ("one", "two"):
                run = client.create_run(place, tags={"pipeline.key": key})
                client.create_model_version(
                    "digits", f"file://{root}/mlartifacts/digits", run.info.run_id, {"pipeline.key": key}
                )
            client.create_model_version("digits", f"file://{root}/mlartifacts/digits", None, {})
        client.set_registered_model_alias("digits", "champion", "2")
    return root


@pytest.fixture
def store(registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """(a client, parameters) for a copy of that store."""
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(registered / "mlflow.db", tmp_path / "runs.db")
    uri = f"sqlite:///{tmp_path}/runs.db"
    yield MlflowClient(uri, uri), SimpleNamespace(tracking=Tracking(uri=uri, artifacts=None))


def run_of(client: Any, key: str) -> str:
    place = client.get_experiment_by_name("digits").experiment_id
    (run,) = client.search_runs([place], f"tags.`pipeline.key` = '{key}'")
    return str(run.info.run_id)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits", "version: found digits; allowed: MODEL@VERSION, such as digits@3 or digits@champion"),
        ("digits@", "version: found digits@; allowed: MODEL@VERSION"),
        ("digits@1@2", "version: found digits@1@2; allowed: MODEL@VERSION"),
        ("digits'@1", "version: found digits'@1; allowed: MODEL@VERSION"),
        ("digist@1", "registered model: found digist; .*digits"),
        ("digits@7", "version of digits: found 7; allowed: 1, 2, 3, champion"),
        ("digits@best", "version of digits: found best; allowed: 1, 2, 3, champion"),
    ],
)
def test_names_of_no_version_change_nothing(store: Any, name: str, message: str) -> None:
    client, params = store
    with pytest.raises(ParamsError, match=message):
        main(name, params)
    versions = client.search_model_versions("name = 'digits'")
    assert not any("pipeline.reproduced" in version.tags for version in versions)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({}, "its run names no commit"),
        ({"mlflow.source.git.commit": "a" * 40}, "commit aaaaaaaaaaaa had changes that were not stored"),
        ({"mlflow.source.git.commit": "a" * 40, "pipeline.dirty": "true"}, "had changes that were not stored"),
        ({SOURCE: "incomplete: too large"}, "its source is incomplete: too large"),
        ({SOURCE: "unknown: other code"}, "its source is unknown: other code"),
        ({SOURCE: PATCHED, "mlflow.source.git.commit": "a" * 40}, "MLflow does not hand over models:/digits/2/"),
    ],
)
def test_what_was_not_recorded_cannot_be_rebuilt_and_the_version_says_so(
    store: Any, tags: dict[str, str], reason: str
) -> None:
    client, params = store
    for name, value in tags.items():
        client.set_tag(run_of(client, "two"), name, value)
    with pytest.raises(ValueError, match=f"digits@2: cannot, because .*{reason}"):
        main("digits@champion", params)
    found = client.get_model_version("digits", "2").tags
    assert found["pipeline.reproduced"].startswith("cannot, because ")
    assert reason in found["pipeline.reproduced"]
    assert set(found) - {"pipeline.key"} == {
        "pipeline.reproduced", "pipeline.reproduced_at", "pipeline.reproduced_commit",
    }  # fmt: skip
    assert "pipeline.reproduced" not in client.get_model_version("digits", "1").tags


def test_versions_of_another_origin_and_without_a_run_say_so(store: Any) -> None:
    client, params = store
    with pytest.raises(ValueError, match="was not made by this pipeline"):
        main("digits@3", params)
    client.delete_run(run_of(client, "one"))
    with pytest.raises(ValueError, match="MLflow has no run of its training any more"):
        main("digits@1", params)


def test_the_run_that_can_be_rebuilt_counts_where_a_key_stands_twice(store: Any, capsys: Any) -> None:
    client, params = store
    place = client.get_experiment_by_name("digits").experiment_id
    tags = {"pipeline.key": "two", SOURCE: COMMITTED, "mlflow.source.git.commit": "b" * 40}
    client.create_run(place, tags=tags)
    main(None, params)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["digits@1", "digits@2", "digits@3"]
    assert "its run names no commit; not tried yet" in lines[0]
    assert "(champion)" in lines[1] and "commit bbbbbbbbbbbb; not tried yet" in lines[1]
    assert "its run is gone" in lines[2]


def test_without_mlflow_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    params = SimpleNamespace(tracking=Tracking(uri="http://me:secret@127.0.0.1:9", artifacts=None))
    with pytest.raises(ValueError, match=r"^nothing can be rebuilt without MLflow: http://127.0.0.1:9: ") as raised:
        main("digits@1", params)  # type: ignore[arg-type]
    assert "secret" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
