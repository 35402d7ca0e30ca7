"""The stage register: MLflow follows the files, and a champion changes on evidence only and once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from registered import aliases, client_of, lost, overtaken, record, retrain, snapshot

from pipeline.data.tables import read_table
from pipeline.stages.register import main
from pipeline.tasks.network import load_network


@pytest.fixture
def repository(trained: Path) -> Path:
    """A working directory of its own with the outputs of one experiment."""
    return trained


def test_first_model_becomes_champion_and_a_second_run_changes_nothing(
    repository: Path, fake: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    params = fake.params_for("digits")
    main(None, params)
    client = client_of(repository)
    assert aliases(client) == {"champion": 1, "challenger": 1}
    version = client.get_model_version_by_alias("digits", "champion")
    assert version.tags["pipeline.key"] == "aaa"
    assert version.tags["pipeline.decision"] == "promoted"
    assert "first version that passes; better than svc: accuracy advantage" in version.description
    assert "digits-cnn is the first version that passes" in capsys.readouterr().out
    before, history = snapshot(client), record(repository)["history"]
    main(None, params)
    assert snapshot(client) == before
    assert record(repository)["history"] == history
    lines = capsys.readouterr().out.splitlines()
    assert "nothing to send" in lines[0]
    assert "is up to date; `make ui` shows it" in lines[1]


def test_model_carries_no_path_of_this_machine_and_no_pickle(repository: Path, fake: ModuleType, apart: None) -> None:
    main(None, fake.params_for("digits"))
    folder = next((repository / "mlartifacts").glob("digits/models/*/artifacts"))
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix in (".pkl", ".pt", ".pth", ".pyc")]
    for file in files:
        content = file.read_bytes()
        for path in (str(repository), str(Path(__file__).parents[2]), sys.prefix):
            assert path.encode() not in content, (file, path)
    (package,) = (folder / "code").iterdir()
    code = {file.relative_to(package).as_posix() for file in package.rglob("*.py")}
    assert "tasks/image_classification/task.py" in code
    assert not {name for name in code if name.startswith(("stages", "training", "tracking"))}
    pins = (folder / "requirements.txt").read_text().splitlines()
    assert all("==" in pin and "+" not in pin for pin in pins)
    assert {"torch", "mlflow", "pillow", "safetensors"} <= {pin.partition("==")[0] for pin in pins}


def test_figures_stand_beside_the_logged_model_and_are_not_doubled(repository: Path, fake: ModuleType) -> None:
    main(None, fake.params_for("digits"))
    client = client_of(repository)
    version = client.get_model_version_by_alias("digits", "champion")
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    expected = json.loads((repository / "metrics/digits.json").read_text())["models"]["digits-cnn"]["test"]["accuracy"]
    assert {m.key: m.value for m in model.metrics}["test_accuracy"] == expected["value"]
    assert {m.dataset_name for m in model.metrics} == {"digits"}
    assert len(client.get_metric_history(version.run_id, "test_accuracy")) == 1


def test_an_experiment_of_dvc_is_tracked_and_not_registered(
    repository: Path, fake: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "witty-apse")
    main(None, fake.params_for("digits"))
    client = client_of(repository)
    assert client.search_registered_models() == [], "no version, no alias"
    place = client.get_experiment_by_name("digits")
    assert client.search_runs([place.experiment_id]), "its runs are there"
    found = record(repository)
    assert (found["champion"], found["decision"], found["history"]) == (None, None, []), "no test example is spent"
    said = capsys.readouterr().out
    assert "witty-apse is tracked and not registered" in said
    assert "`dvc exp apply witty-apse`, then `python -m pipeline register digits`" in said

    monkeypatch.delenv("DVC_EXP_NAME")
    main("digits", fake.params_for("digits"))
    assert aliases(client) == {"champion": 1, "challenger": 1}, "taken over by hand, it is judged like any other"


def test_an_experiment_of_dvc_leaves_the_champion_and_its_history_alone(
    repository: Path, fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(None, fake.params_for("digits"))
    before, history = aliases(client_of(repository)), record(repository)["history"]
    retrain(fake, repository, "bbb", 0.95)  # it would take the champion's place
    monkeypatch.setenv("DVC_EXP_NAME", "witty-apse")
    main(None, fake.params_for("digits"))
    assert aliases(client_of(repository)) == before
    assert record(repository)["history"] == history and record(repository)["champion"]["version"] == "1"


def test_better_challenger_takes_over_and_a_worse_one_does_not(repository: Path, fake: ModuleType) -> None:
    params = overtaken(fake, repository)
    assert record(repository)["decision"]["against"] == "version 1 (digits-cnn)"
    assert record(repository)["decision"]["evidence"]["over_champion"]["low"] > 0
    retrain(fake, repository, "ccc", 0.96)
    main(None, params)
    assert aliases(client_of(repository)) == {"champion": 2, "challenger": 3}
    assert "is not shown to be better than version 2 (digits-cnn)" in record(repository)["decision"]["reason"]
    assert client_of(repository).get_model_version("digits", "3").tags["pipeline.decision"] == "kept out"


def test_challenger_that_is_worse_than_the_baseline_stays_out(repository: Path, fake: ModuleType) -> None:
    retrain(fake, repository, "bbb", 0.3, baseline=0.95)
    main(None, fake.params_for("digits"))
    assert aliases(client_of(repository)) == {"challenger": 1}
    assert record(repository)["champion"] is None
    assert "significantly worse than svc" in record(repository)["decision"]["reason"]


def test_challenger_that_only_a_limit_kept_out_is_judged_again_when_it_holds(
    repository: Path, fake: ModuleType
) -> None:
    from pipeline.params import Limits

    params, light = fake.params_for("digits"), fake.params_for("digits")
    strict = params.gate.model_copy(update={"limits": Limits(latency_ms=None, megabytes=1e-6, worst_class=None)})
    light.gate_of = lambda name: strict
    for _ in range(2):
        main(None, light)
        assert aliases(client_of(repository)) == {"challenger": 1}
        assert "limits.megabytes: the weights have" in record(repository)["decision"]["reason"]
    assert len(record(repository)["history"]) == 1, "as long as the limit is broken the decision stands"
    for _ in range(2):
        main(None, params)
        assert aliases(client_of(repository)) == {"champion": 1, "challenger": 1}
    assert [line["promoted"] for line in record(repository)["history"]] == [False, True]


def test_rollback_by_hand_is_respected_and_written_down(repository: Path, fake: ModuleType) -> None:
    params = overtaken(fake, repository)
    client_of(repository).set_registered_model_alias("digits", "champion", "1")
    for _ in range(2):
        main(None, params)
        assert aliases(client_of(repository)) == {"champion": 1, "challenger": 2}
    last = record(repository)["history"][-1]
    assert (last["champion_after"], last["challenger"]) == ("aaa", None)
    assert len(record(repository)["history"]) == 3


def test_lost_database_comes_back_from_the_files_with_its_aliases(repository: Path, fake: ModuleType) -> None:
    params = fake.params_for("digits")
    main(None, params)
    retrain(fake, repository, "bbb", 0.72)  # not surely better: version 1 stays champion
    main(None, params)
    before = client_of(repository)
    assert aliases(before) == {"champion": 1, "challenger": 2}
    names = sorted(
        run.info.run_name for run in before.search_runs([before.get_experiment_by_name("digits").experiment_id])
    )
    history = record(repository)["history"]
    params = lost(fake, repository)
    main(None, params)
    after = client_of(repository, "new.db")
    assert aliases(after) == {"champion": 1, "challenger": 2}
    champion = after.get_model_version_by_alias("digits", "champion")
    assert champion.tags["pipeline.key"] == "aaa"  # from mlartifacts: models/ holds its successor
    assert "pipeline.restoring" not in champion.tags
    assert "first version that passes" in champion.tags["pipeline.reason"]
    found = sorted(
        run.info.run_name for run in after.search_runs([after.get_experiment_by_name("digits").experiment_id])
    )
    assert set(found) == set(names)  # of two trainings only the last has files that tell its run
    assert record(repository)["history"] == history
    retrain(fake, repository, "ccc", 0.99)  # the restored champion can still be compared
    main(None, params)
    assert aliases(client_of(repository, "new.db")) == {"champion": 3, "challenger": 3}


def test_champion_whose_files_are_gone_is_named_and_not_replaced_unseen(repository: Path, fake: ModuleType) -> None:
    params = fake.params_for("digits")
    main(None, params)
    retrain(fake, repository, "bbb", 0.99)
    shutil.rmtree(repository / "mlartifacts")
    main(None, lost(fake, repository))
    assert record(repository)["champion"] is None
    pending = record(repository)["pending"]
    assert "version 1 (digits-cnn, key aaa) is lost" in pending[0]
    assert "no decision about version 1 (digits-cnn)" in pending[1]


def right_answers(repository: Path) -> np.ndarray:
    """Which test examples the network in models/ gets right."""
    task, network, card, _ = load_network(repository / "models/digits/digits-cnn")
    table = read_table(repository / "data/prepared/digits", "test")
    return task.example_scores(task.predict(network, task.examples(table, card), card))


def test_both_models_answer_the_requests_of_new_test_data_by_their_own_code(
    repository: Path, fake: ModuleType, apart: None
) -> None:
    params = fake.params_for("digits")
    main(None, params)
    shutil.copytree(repository / "models", repository / "first-models")
    card = fake.write_prepared(repository, seed=1)
    fake.write_model(repository, "digits", "digits-cnn", "bbb", card)
    count = card["counts"]["test"]
    right = {"digits-cnn": np.ones(count, bool), "svc": fake.hits(0.5, count=count)}
    fake.write_evaluation(repository, "digits", right, {"digits-cnn": "bbb"}, card, "digits-cnn")
    main(None, params)
    ours = right_answers(repository)
    shutil.rmtree(repository / "models")
    (repository / "first-models").rename("models")
    evidence = record(repository)["decision"]["evidence"]
    assert evidence["over_champion"]["difference"] == pytest.approx((ours - right_answers(repository)).mean())
    assert (evidence["test_split"]["count"], evidence["test_split"]["left_out"]) == (count, 0)


def test_champion_for_other_classes_cannot_be_compared_and_stays(repository: Path, fake: ModuleType) -> None:
    params = fake.params_for("digits")
    main(None, params)
    retrain(fake, repository, "bbb", 0.99)
    for file, change in (("models/digits/digits-cnn/model.json", "card"), ("metrics/digits.json", None)):
        content = json.loads((repository / file).read_text())
        if change:
            content["card"]["classes"] = ["x", "y", "z"]
        else:
            content["test_digest"] = "other"
        (repository / file).write_text(json.dumps(content))
    main(None, params)
    assert aliases(client_of(repository)) == {"champion": 1, "challenger": 2}
    assert (
        "could not be compared with version 1 (digits-cnn): no score is fair to both: classes a, b, c and now x, y, z"
        in (record(repository)["decision"]["reason"])
    )


@pytest.mark.parametrize(
    ("remove", "said"),
    [("all", "no outputs yet"), ("metrics", "not evaluated yet"), ("challenger", "which params.yaml no longer has")],
)
def test_experiments_without_results_are_skipped_with_a_message(
    repository: Path, fake: ModuleType, capsys: pytest.CaptureFixture[str], remove: str, said: str
) -> None:
    for folder in {"all": ["search", "models", "metrics", "evaluation"], "metrics": ["metrics"], "challenger": []}[
        remove
    ]:
        shutil.rmtree(repository / folder)
    main("digits", fake.params_for("digits", candidates=("rnn",) if remove == "challenger" else ("cnn",)))
    assert said in capsys.readouterr().out
    assert record(repository)["champion"] is None


def test_broken_model_is_an_error_that_says_why(repository: Path, fake: ModuleType, apart: None) -> None:
    (repository / "models/digits/digits-cnn/model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=r"digits: the model cannot be served: .*[Ss]afetensor"):
        main(None, fake.params_for("digits"))
    assert record(repository)["versions"] == 0


def test_unknown_experiment_is_refused_with_the_nearest_name(repository: Path, fake: ModuleType) -> None:
    with pytest.raises(ValueError, match="found digit; allowed: digits, differences; did you mean `digits`"):
        main("digit", fake.params_for("digits"))


def test_nothing_heavy_is_imported_where_nothing_is_to_do(repository: Path, fake: ModuleType) -> None:
    main(None, fake.params_for("digits"))
    code = (
        "import sys, time, importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('fake', {str(Path(fake.__file__ or ''))!r})\n"
        "fake = importlib.util.module_from_spec(spec); spec.loader.exec_module(fake)\n"
        "from pipeline.stages.register import main; main(None, fake.params_for('digits'))\n"
        "heavy = ('torch', 'mlflow.pyfunc', 'pipeline.registry.gate')\n"
        "print([name for name in heavy if name in sys.modules], time.process_time())"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    modules, seconds = done.stdout.splitlines()[-1].rsplit(" ", 1)
    assert modules == "[]"
    assert float(seconds) < 10  # of this process alone; 2 s on a free machine, more where others use its caches


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], url: str, folder: Path) -> Iterator[None]:
    """A server that is there when its address answers, and gone afterwards."""
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # six more processes that nobody needs here
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"  # mlflow starts uvicorn by name
    log = (folder / "server.log").open("wb")
    server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        for _ in range(600):
            assert server.poll() is None, (folder / "server.log").read_text()
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        else:
            raise AssertionError((folder / "server.log").read_text())
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, 15)  # its workers too: the server has a group of its own
        server.wait(30)
        log.close()


def mlflow(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mlflow", *arguments]


def test_server_that_was_away_gets_everything_when_it_is_back(
    repository: Path, fake: ModuleType, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    from mlflow.tracking import MlflowClient

    port, folder = free_port(), tmp_path_factory.mktemp("server")
    address = f"http://127.0.0.1:{port}"
    params = fake.params_for("digits", uri=address.replace("//", "//me:geheim@"))
    (repository / "mlflow.db").unlink()
    main(None, params)
    text = (repository / "reports/registry.json").read_text()
    assert "geheim" not in text
    assert record(repository)["pending"][0].startswith(f"everything that is new of digits: {address}")
    command = mlflow("server", "--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination",
                     str(folder / "store"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1")  # fmt: skip
    with running(command, f"{address}/health", folder):
        main(None, params)
        assert record(repository)["pending"] == []
        client = MlflowClient(address, address)
        assert aliases(client) == {"champion": 1, "challenger": 1}
        before = snapshot(client)
        seconds = []
        for _ in range(3):  # the tests beside this one take the cores for seconds at a time
            start = time.monotonic()
            main(None, params)
            seconds.append(time.monotonic() - start)
        assert min(seconds) < 5, seconds
        assert snapshot(client) == before
        retrain(fake, repository, "bbb", 0.95)
        main(None, params)  # the champion's scores come from the server
        assert aliases(client) == {"champion": 2, "challenger": 2}
    assert not (repository / "mlflow.db").exists()
    assert "geheim" not in "".join(capfd.readouterr())
    main(None, params)
    assert record(repository)["champion"]["version"] == "2"  # what was known stays
    assert len(record(repository)["pending"]) == 1


def test_registered_model_answers_over_http_as_it_does_here(repository: Path, fake: ModuleType, apart: None) -> None:
    main(None, fake.params_for("digits"))
    folder = next((repository / "mlartifacts").glob("digits/models/*/artifacts"))
    port = free_port()
    command = mlflow("models", "serve", "--model-uri", str(folder), "--env-manager", "local", "--host", "127.0.0.1",
                     "--port", str(port))  # fmt: skip
    with running(command, f"http://127.0.0.1:{port}/ping", repository):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            (folder / "serving_input_example.json").read_bytes(),
            {"Content-Type": "application/json"},
        )
        answer = json.loads(urllib.request.urlopen(request, timeout=30).read())["predictions"]
    from pipeline.data.tables import read_table
    from pipeline.tasks.network import load_network

    task, network, card, _ = load_network(Path("models/digits/digits-cnn"))
    example = task.input_example(read_table(Path("data/prepared/digits"), "test"), card)
    expected = task.answer(network, example, card)
    assert [row["class"] for row in answer] == list(expected["class"])
    assert [row["confidence"] for row in answer] == pytest.approx(list(expected["confidence"]), abs=1e-6)
