"""The stage audit: it names every difference between files, dvc.lock and MLflow, and changes nothing."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline.commands import audit
from pipeline.tracking.audit_files import file_differences
from pipeline.tracking.outputs import planned_runs
from pipeline.tracking.sync import sync

DVC_YAML = """
stages:
  make:
    foreach: {one: {}, two: {}}
    do:
      cmd: mkdir -p out/${key} && cp seed.txt out/${key}/a && echo b > out/${key}/b && cp seed.txt ${key}.txt
      deps:
        - seed.txt
      outs:
        - out/${key}
      metrics:
        - ${key}.txt:
            cache: false
  register:
    cmd: "true"
    always_changed: true
"""


@pytest.fixture(scope="module")
def fake() -> ModuleType:
    """The writer of output folders."""
    spec = importlib.util.spec_from_file_location("fake", Path(__file__).parents[1] / "registry" / "fake_outputs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dvc(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments, "-q"], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small pipeline whose outputs are all as dvc.lock says."""
    folder = tmp_path_factory.mktemp("dvc")
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "seed.txt").write_text("seed\n")
    dvc(folder, "init", "--no-scm")
    dvc(folder, "config", "core.analytics", "false")
    dvc(folder, "repro")
    return folder


@pytest.fixture
def outputs(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def cached(folder: Path, content: str) -> Path:
    """The file of DVC's cache with this content."""
    (found,) = [file for file in (folder / ".dvc/cache/files/md5").glob("*/*") if file.read_text() == content]
    found.chmod(0o644)
    return found


def lines(folder: Path) -> list[str]:
    return [str(difference) for difference in file_differences(folder)]


def test_outputs_that_are_as_the_lock_says_are_no_difference(outputs: Path) -> None:
    assert lines(outputs) == []


def test_changed_lost_and_unknown_outputs_are_named_and_checkout_mends_them(outputs: Path) -> None:
    (outputs / "out/one/a").write_text("other\n")
    (outputs / "out/one/b").unlink()
    (outputs / "out/two/c").write_text("new\n")
    seed, other = (hashlib.md5(text).hexdigest() for text in (b"seed\n", b"other\n"))
    assert lines(outputs) == [
        f"out/one/a: its md5 is {other} instead of {seed}; mended by `dvc checkout -f out/one`",
        "out/one/b: missing; mended by `dvc checkout -f out/one`",
        "out/two/c: dvc.lock does not know it; mended by `dvc checkout -f out/two`",
    ]
    for place in ("out/one", "out/two"):
        dvc(outputs, "checkout", "-f", place)
    assert lines(outputs) == []


def test_results_of_differences_are_compared_and_whether_they_are_up_to_date_does_not_matter(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (outputs / "differences").mkdir()
    body = """{wdir: .., cmd: cp seed.txt differences/x.json, deps: [seed.txt],
      outs: [differences/x.json: {cache: false}]}"""
    text = f"stages:\n  difference:\n    foreach: {{x: {{}}}}\n    do: {body}\n"
    (outputs / "differences/dvc.yaml").write_text(text)
    dvc(outputs, "repro", "differences/dvc.yaml")
    monkeypatch.chdir(outputs)
    assert lines(outputs) == []
    (outputs / "differences/x.json").write_text("other\n")
    (line,) = lines(outputs)
    assert line.endswith("; mended by `dvc repro differences/dvc.yaml:difference@x`")
    dvc(outputs, "repro", "differences/dvc.yaml")
    (outputs / "seed.txt").write_text("sown\n")
    found = list(file_differences(outputs))
    assert [(str(one), one.matters) for one in found if "difference@x" in str(one)] == [
        ("stage differences/dvc.yaml:difference@x: seed.txt: modified; mended by `dvc repro differences/dvc.yaml`",
         False)
    ]  # fmt: skip


def test_a_metric_that_git_keeps_is_compared_and_made_again(outputs: Path) -> None:
    (outputs / "one.txt").write_text("other\n")
    (line,) = lines(outputs)
    assert line.startswith("one.txt: its md5 is ") and line.endswith("; mended by `dvc repro make@one`")
    dvc(outputs, "repro", "make@one")
    assert lines(outputs) == []


def test_a_damaged_copy_in_the_cache_is_found_left_alone_and_mended(outputs: Path) -> None:
    copy = cached(outputs, "b\n")
    copy.write_text("damaged")
    found = lines(outputs)
    assert [line.split(":")[0] for line in found] == [
        "copy in DVC's cache of out/one/b", "copy in DVC's cache of out/two/b", "stages",
    ]  # fmt: skip
    assert f"mended by `rm -f {copy}` and `dvc commit -f make@one`" in found[0]
    assert copy.read_text() == "damaged", "dvc status would have removed it"
    copy.unlink()
    assert "copy in DVC's cache of out/one/b: missing; mended by `dvc commit -f make@one`" in lines(outputs)
    dvc(outputs, "commit", "-f", "make@one")
    assert lines(outputs) == []


def test_an_output_that_is_damaged_together_with_its_copy_is_made_again(outputs: Path) -> None:
    copy = cached(outputs, "b\n")
    copy.write_text("damaged")
    (outputs / "out/one/b").write_text("damaged")
    found = lines(outputs)
    assert found[0].startswith("out/one/b: its md5 is ") and found[0].endswith("mended by `dvc repro make@one`")
    assert f"mended by `rm -f {copy}` and `dvc repro -f -s make@one`" in found[1]
    copy.unlink()
    dvc(outputs, "repro", "-f", "-s", "make@one")
    assert lines(outputs) == []


def test_a_lost_list_of_a_folder_is_said(outputs: Path) -> None:
    for file in (outputs / ".dvc/cache/files/md5").glob("*/*.dir"):
        file.unlink()
    assert any(line.startswith("out/one: DVC's cache has no sound list of its files") for line in lines(outputs))


def test_stages_whose_dependencies_changed_are_named(outputs: Path) -> None:
    (outputs / "seed.txt").write_text("another\n")
    assert lines(outputs) == [
        "stage make@one: seed.txt: modified; mended by `dvc repro`",
        "stage make@two: seed.txt: modified; mended by `dvc repro`",
    ]


def test_a_damaged_lock_is_one_sentence(outputs: Path) -> None:
    (outputs / "dvc.lock").write_text("schema: '2.0'\nstages: {")
    with pytest.raises(ValueError, match=r"DVC cannot tell the state of the files: .*dvc\.lock"):
        lines(outputs)


def test_without_dvc_there_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="DVC cannot tell the state of the files: "):
        list(file_differences(tmp_path))


@pytest.fixture(scope="module")
def complete(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of an experiment, and an MLflow store that has all its runs."""
    from pipeline.params import Tracking
    from pipeline.tracking.address import address_of
    from pipeline.tracking.client import connect, experiment_id

    root = tmp_path_factory.mktemp("complete")
    fake.write_experiment(root, key="aaa")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        address = address_of(Tracking(uri=None, artifacts=None), root)
        client = connect(address)
        sync(client, experiment_id(client, address, "digits", ""), planned_runs("digits", ["digits-cnn"]), root)
    return root


@pytest.fixture
def repository(complete: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working directory. Its database has another name: the first is held open."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(complete, tmp_path / "copy")
    (tmp_path / "copy/mlflow.db").rename(tmp_path / "copy/runs.db")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setattr(audit, "file_differences", lambda root: [])
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()  # by run id, and the runs of all copies have the same
    place_artifacts(tmp_path / "copy", complete)
    return tmp_path / "copy"


def place_artifacts(root: Path, before: Path) -> None:
    """Lets the runs of a copied database find their files beside it."""
    import sqlite3

    with sqlite3.connect(root / "runs.db") as database:
        database.execute("update runs set artifact_uri = replace(artifact_uri, ?, ?)", (str(before), str(root)))
        database.execute(
            "update experiments set artifact_location = replace(artifact_location, ?, ?)", (str(before), str(root))
        )


@pytest.fixture
def client(repository: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{repository}/runs.db", f"sqlite:///{repository}/runs.db")


@pytest.fixture
def audited(
    fake: ModuleType, repository: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[], tuple[int, list[str]]]:
    """(exit code, lines) of an audit, which must not change a byte."""
    params = fake.params_for("digits", uri="sqlite:///runs.db", candidates=("cnn",))

    def run() -> tuple[int, list[str]]:
        before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
        code = audit.main(None, params)
        assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before
        return code, capsys.readouterr().out.splitlines()

    return run


def mend(repository: Path, client: Any) -> list[str]:
    """What `register` does about runs when it is called by hand."""
    place = client.get_experiment_by_name("digits").experiment_id
    return sync(client, place, planned_runs("digits", ["digits-cnn"]), repository, thorough=True).lines


def run_of(client: Any, kind: str) -> Any:
    place = client.get_experiment_by_name("digits").experiment_id
    return client.search_runs([place], f"tags.`pipeline.kind` = '{kind}'", order_by=["start_time ASC"])[0]


def test_complete_runs_are_no_difference(audited: Any) -> None:
    assert audited() == (0, ["audit: 0 differences"])


def lose_a_run(client: Any, root: Path) -> None:
    client.delete_run(run_of(client, "train").info.run_id)


def lose_a_trial(client: Any, root: Path) -> None:
    client.delete_run(run_of(client, "trial").info.run_id)


def double_a_run(client: Any, root: Path) -> None:
    run = run_of(client, "train")
    client.create_run(run.info.experiment_id, tags=run.data.tags)


def leave_a_run_open(client: Any, root: Path) -> None:
    tags = {"pipeline.key": "of nobody", "pipeline.kind": "train", "pipeline.owner": dead_owner()}
    client.create_run(run_of(client, "train").info.experiment_id, tags=tags, run_name="left open")


def dead_owner() -> str:
    from pipeline.tracking.liveness import Owner, this_machine

    return Owner(this_machine(), 2**22 + 1, 0.0).tag


def double_a_point(client: Any, root: Path) -> None:
    run = run_of(client, "train")
    name = next(name for name in run.data.metrics if name.endswith("/seed_0") and name.startswith("train_loss"))
    point = client.get_metric_history(run.info.run_id, name)[0]
    client.log_metric(run.info.run_id, name, point.value, step=point.step)


def add_a_point(client: Any, root: Path) -> None:
    run = run_of(client, "train")
    client.log_metric(run.info.run_id, next(name for name in run.data.metrics if "/seed_0" in name), 1.0, step=99)


def change_a_tag(client: Any, root: Path) -> None:
    client.set_tag(run_of(client, "tune").info.run_id, "pipeline.seed", "7")


def change_a_status(client: Any, root: Path) -> None:
    client.set_terminated(run_of(client, "tune").info.run_id, "FAILED")


def change_a_figure(client: Any, root: Path) -> None:
    client.log_metric(run_of(client, "tune").info.run_id, "trials", 1000)


def lose_a_mark(client: Any, root: Path) -> None:
    client.delete_tag(run_of(client, "evaluate").info.run_id, "pipeline.complete")


def lose_a_file(client: Any, root: Path) -> None:
    Path(run_of(client, "train").info.artifact_uri.removeprefix("file://"), "model.json").unlink()


def change_a_file(client: Any, root: Path) -> None:
    file = Path(run_of(client, "tune").info.artifact_uri.removeprefix("file://"), "trials.csv")
    file.write_bytes(bytes(reversed(file.read_bytes())))


DAMAGES: dict[Callable[[Any, Path], None], str] = {
    lose_a_run: "run train digits-cnn: MLflow does not have it",
    lose_a_trial: "run tune digits-cnn: trial 0 is missing",
    double_a_run: "run train digits-cnn: stands 2 times in MLflow",
    leave_a_run_open: "run left open: is open, but its process is gone",
    double_a_point: "points of train_loss/seed_0 stand twice",
    add_a_point: "no file knows",
    change_a_tag: "tag pipeline.seed is '7' instead of '0'",
    change_a_status: "its status is FAILED instead of FINISHED",
    change_a_figure: "figure trials is 1000.0 instead of 3",
    lose_a_mark: "is not marked as complete from the present files",
    lose_a_file: "file model.json is missing",
    change_a_file: "file trials.csv has other bytes",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_damage_is_named_and_register_mends_it(
    damage: Callable[[Any, Path], None], repository: Path, client: Any, audited: Any
) -> None:
    damage(client, repository)
    code, said = audited()
    assert code == 1
    assert any(DAMAGES[damage] in line and line.endswith("`python -m pipeline register`") for line in said), said
    mend(repository, client)
    code, said = audited()
    assert code == 0, said
    assert said[-1] == "audit: 0 differences"


def test_a_run_that_is_written_anew_keeps_the_source_from_which_it_can_be_rebuilt(
    repository: Path, client: Any, audited: Any
) -> None:
    run = run_of(client, "train").info.run_id
    client.set_tag(run, "pipeline.source", "commit")
    client.set_tag(run, "mlflow.source.git.commit", "a" * 40)
    client.log_text(run, "seed: 0\n", "source/params.yaml")
    double_a_point(client, repository)
    mend(repository, client)
    anew = run_of(client, "train")
    assert anew.info.run_id != run
    assert anew.data.tags["mlflow.source.git.commit"] == "a" * 40
    assert {file.path for file in client.list_artifacts(anew.info.run_id, "source")} == {"source/params.yaml"}
    assert audited()[0] == 0


def test_trials_whose_search_is_in_the_bin_are_removed(repository: Path, client: Any, audited: Any) -> None:
    client.delete_run(run_of(client, "tune").info.run_id)
    assert audited()[0] == 1
    assert any("3 trials without a search: removed" in line for line in mend(repository, client))
    assert audited()[0] == 0


def test_runs_of_living_processes_and_of_earlier_work_are_only_noted(client: Any, audited: Any) -> None:
    from pipeline.tracking.liveness import this_process

    place = run_of(client, "train").info.experiment_id
    living = {"pipeline.key": "living", "pipeline.kind": "train", "pipeline.owner": this_process().tag}
    client.create_run(place, tags=living, run_name="going on")
    earlier = client.create_run(place, tags={"pipeline.key": "earlier", "pipeline.kind": "train"})
    client.set_terminated(earlier.info.run_id)
    code, said = audited()
    assert code == 0
    assert said == [
        "note     digits: run going on: is going on",
        "note     digits: MLflow has 1 runs of earlier work, which no file knows",
        "audit: 0 differences",
    ]


def test_a_store_that_does_not_exist_is_not_made(fake: ModuleType, repository: Path) -> None:
    assert audit.main(None, fake.params_for("digits", uri="sqlite:///none.db")) == 1
    assert not (repository / "none.db").exists()


def test_mlflow_that_does_not_answer_is_said_without_the_password(fake: ModuleType, repository: Path) -> None:
    params = fake.params_for("digits", uri="http://me:secret@127.0.0.1:9")
    with pytest.raises(ValueError, match=r"the files were compared, but not MLflow: http://127.0.0.1:9") as raised:
        audit.main(None, params)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("alias", "found"),
    [
        (None, "digits@champion: is missing; the record says version 1"),
        ("2", "digits@champion: points to version 2 instead of 1"),
    ],
)
def test_aliases_are_compared_with_the_record(
    alias: str | None, found: str, repository: Path, client: Any, audited: Any
) -> None:
    client.create_registered_model("digits")
    for key in ("aaa", "bbb"):
        client.create_model_version("digits", f"file://{repository}", tags={"pipeline.key": key})
    named = {"version": "1", "key": "aaa", "candidate": "digits-cnn"}
    gone = {**named, "version": "3", "key": "ccc"}
    line = {"time": "2026-01-01T00:00:00+00:00", "challenger": gone, "against": named, "champion_after": "aaa",
            "promoted": False, "reason": "because"}  # fmt: skip
    record = {"champion": named, "challenger": gone, "history": [line]}
    (repository / "reports").mkdir(exist_ok=True)
    (repository / "reports/registry.json").write_text(json.dumps({"experiments": {"digits": record}}))
    if alias:
        client.set_registered_model_alias("digits", "champion", alias)
    code, said = audited()
    assert code == 1 and any(found in text for text in said), said
    assert any("digits@challenger: is missing; the record says version 3" in text for text in said)
    assert any("digits@3: MLflow has no version of digits-cnn with the key ccc; mended" in text for text in said)
    assert any("digits: history: 1 lines are not in MLflow" in text for text in said)


def test_edited_tags_and_a_history_that_was_torn_are_named(repository: Path, client: Any, audited: Any) -> None:
    from pipeline.registry import chain, ledger, record

    client.create_registered_model("digits")
    named = [{"version": str(n), "key": f"key-{n}", "candidate": "digits-cnn"} for n in (1, 2, 3)]
    first = {**record.entry(named[0], None, promoted=True, reason="", evidence={}), "previous": None}
    torn = [chain.following([first], record.entry(challenger, named[0], promoted=True, reason="", evidence={}))
            for challenger in named[1:]]  # fmt: skip
    for line in torn:
        client.set_registered_model_tag("digits", ledger.name_of(line), json.dumps(line, sort_keys=True))
    client.set_registered_model_tag("digits", ledger.name_of(first), "{}")
    client.create_model_version("digits", f"file://{repository}", tags={"pipeline.decision": "promoted"})
    client.create_registered_model("digits (being registered)", {"pipeline.owner": dead_owner()})
    code, said = audited()
    text = "\n".join(said)
    assert code == 1
    assert f"digits: history: MLflow's tag {ledger.name_of(first)} was edited and counts as absent" in text
    assert "digits: history: was written apart in two places and not joined yet; mended by" in text
    assert "note     digits: history: a line that another one follows is gone" in text
    assert "digits@1: the tags of its decision were edited" in text
    assert "digits: registration: process 4194305 on " in text and " is at it or was killed; mended by" in text


def test_weights_of_a_version_are_compared_with_those_that_lie_here(
    repository: Path, client: Any, audited: Any
) -> None:
    folder = repository / "models/digits/digits-cnn"
    stored = repository / "stored"
    (stored / "artifacts").mkdir(parents=True)
    shutil.copyfile(folder / "model.safetensors", stored / "artifacts/model.safetensors")
    (stored / "artifacts/examples.safetensors").touch()
    client.create_registered_model("digits")
    tags = {"pipeline.key": "aaa", "pipeline.candidate": "digits-cnn"}
    client.create_model_version("digits", stored.as_uri(), tags=tags)
    assert audited() == (0, ["audit: 0 differences"])
    (stored / "artifacts/model.safetensors").write_bytes(b"other")
    code, said = audited()
    assert code == 1 and "digits@1: its weights are not those of models/digits/digits-cnn" in said[0]
    (stored / "artifacts/model.safetensors").unlink()
    assert "digits@1: MLflow has lost its weights" in audited()[1][0]
    client.create_model_version("digits", stored.as_uri(), tags=tags)
    assert any("digits: versions 1, 2 are the same training" in line for line in audited()[1])


def test_version_whose_code_shares_its_name_with_others_is_noted(repository: Path, client: Any, audited: Any) -> None:
    stored = repository / "stored"
    (stored / "artifacts").mkdir(parents=True)
    shutil.copyfile(repository / "models/digits/digits-cnn/model.safetensors", stored / "artifacts/model.safetensors")
    (stored / "artifacts/examples.safetensors").touch()
    (stored / "code/pipeline_0123456789ab").mkdir(parents=True)
    (stored / "code/pipeline_0123456789ab/__init__.py").touch()
    client.create_registered_model("digits")
    tags = {"pipeline.key": "aaa", "pipeline.candidate": "digits-cnn"}
    client.create_model_version("digits", stored.as_uri(), tags=tags)
    assert audited() == (0, ["audit: 0 differences"])
    (stored / "code/pipeline_0123456789ab").rename(stored / "code/pipeline")
    code, said = audited()
    assert code == 0 and any("digits@1: its code has the name `pipeline`, which all such" in line for line in said)


def test_version_that_does_not_say_what_it_has_learned_from_is_noted(
    repository: Path, client: Any, audited: Any
) -> None:
    stored = repository / "stored"
    (stored / "artifacts").mkdir(parents=True)
    shutil.copyfile(repository / "models/digits/digits-cnn/model.safetensors", stored / "artifacts/model.safetensors")
    client.create_registered_model("digits")
    tags = {"pipeline.key": "aaa", "pipeline.candidate": "digits-cnn"}
    client.create_model_version("digits", stored.as_uri(), tags=tags)
    code, said = audited()
    assert code == 0 and any("digits@1: it does not say which examples it has learned from" in line for line in said)
