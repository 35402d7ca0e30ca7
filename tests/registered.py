"""An experiment whose outputs are there and an MLflow store beside them, for the tests of what is made of both."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The writer of output folders."""
    return writer()


def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake", Path(__file__).with_name("registry") / "fake_outputs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def trained_template(fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of an experiment, and an empty MLflow store: setting one up takes seconds, a copy takes none."""
    from pipeline.params import Tracking
    from pipeline.tracking.address import address_of
    from pipeline.tracking.client import connect

    root = tmp_path_factory.mktemp("trained")
    fake.write_experiment(root, key="aaa", share=0.7)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(address_of(Tracking(uri=None, artifacts=None), root))
    shutil.copyfile(root / "mlflow.db", root / "empty.db")
    return root


@pytest.fixture
def trained(
    trained_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """A working directory of its own with these outputs; models are tried in this process, which has PyTorch."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(trained_template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    if "apart" not in request.fixturenames:
        monkeypatch.setattr("pipeline.serving.rehearse.run_apart", tried_here)
    if "in_earnest" not in request.fixturenames:
        monkeypatch.setattr("pipeline.serving.preflight.inspect", passes)  # the stored predictions are invented
    return tmp_path


@pytest.fixture
def apart() -> None:
    """Asks `trained` to try models in a process of their own, as in earnest."""


@pytest.fixture
def in_earnest() -> None:
    """Asks `trained` to let models pass their pre-flight only where they really do."""


def passes(folder: Path) -> Any:
    from pipeline.serving.preflight import Report

    assert (folder / "MLmodel").is_file()
    return Report(True, [], 0.0)


def tried_here(job: Path, code: Path) -> None:
    from pipeline.serving import rehearsal
    from pipeline.serving.rehearse import RehearsalFailed

    try:
        rehearsal.main(writer().answers_as_told(json.loads(job.read_text())))
    except Exception as error:
        raise RehearsalFailed(repr(error)) from error


def record(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "reports/registry.json").read_text())["experiments"]["digits"]
    return found


def client_of(root: Path, database: str = "mlflow.db") -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{root}/{database}", f"sqlite:///{root}/{database}")


def lost(fake: ModuleType, root: Path) -> Any:
    """Parameters for a store that knows nothing. Its file has another name: this process holds the old one open."""
    shutil.copyfile(root / "empty.db", root / "new.db")
    return fake.params_for("digits", uri="sqlite:///new.db")


def aliases(client: Any) -> dict[str, int]:
    return {alias: int(number) for alias, number in client.get_registered_model("digits").aliases.items()}


def retrain(fake: ModuleType, root: Path, key: str, share: float, base: float = 0.7, baseline: float = 0.5) -> None:
    """A new training that is right wherever one with the share `base` is, and elsewhere up to `share`."""
    card = json.loads((root / "data/prepared/digits/card.json").read_text())
    fake.write_model(root, "digits", "digits-cnn", key, card)
    draws = np.random.default_rng(0).random(80)
    right = {"digits-cnn": draws < share, "svc": np.random.default_rng(1).random(80) < baseline}
    fake.write_evaluation(root, "digits", right, {"digits-cnn": key}, card, "digits-cnn")


def overtaken(fake: ModuleType, root: Path) -> Any:
    """Parameters after two trainings: version 1 (key aaa), and version 2 (key bbb), which took its place."""
    from pipeline.stages.register import main as register

    params = fake.params_for("digits")
    register(None, params)
    retrain(fake, root, "bbb", 0.95)
    register(None, params)
    assert aliases(client_of(root)) == {"champion": 2, "challenger": 2}
    return params


def snapshot(client: Any) -> dict[str, Any]:
    """Everything that the registry and the runs hold, for comparison."""
    place = client.get_experiment_by_name("digits").experiment_id
    versions = {v.version: (dict(v.tags), v.description, v.last_updated_timestamp)
                for v in client.search_model_versions("name = 'digits'")}  # fmt: skip
    runs = {
        run.info.run_id: (run.info.status, run.info.end_time, run.data.to_dictionary())
        for run in client.search_runs([place])
    }
    points = {
        (run, name): len(client.get_metric_history(run, name))
        for run, found in runs.items()
        for name in found[2]["metrics"]
    }
    return {"versions": versions, "aliases": aliases(client), "runs": runs, "points": points}


def packaged(prepared: Path, candidate: str, folder: Path, checkout: Path = ROOT) -> Path:
    """The servable folder of an untrained candidate of tests/tiny.yaml, with the predictions that it really makes.

    Its code is that of a checkout.
    """
    from safetensors.torch import save_file

    from pipeline.data.tables import EXAMPLES, read_card, read_table
    from pipeline.params import load
    from pipeline.serving import rehearsal
    from pipeline.serving import rehearse as trial
    from pipeline.serving.packaging import copy_code, package
    from pipeline.serving.rehearse import rehearse
    from pipeline.tasks import load_task
    from pipeline.tasks.network import build_network
    from pipeline.training.preflight import smallest

    params = load(prepared / "params.yaml")
    entry, data = params.candidates[candidate], prepared / "data/prepared" / params.candidates[candidate].experiment
    settings, card = params.experiments[entry.experiment].settings, read_card(data)
    task, parameters = load_task(entry.task, settings), next(iter(smallest(entry.parameters)))
    network = build_network(task, entry.family, card, parameters).eval()
    (folder / "model").mkdir(parents=True)
    save_file(network.state_dict(), folder / "model/model.safetensors")
    described = {"task": entry.task, "family": entry.family, "settings": settings, "parameters": parameters}
    (folder / "model/model.json").write_text(json.dumps({**described, "card": card, "key": "aaa"}))
    predictions = task.predict(network, task.examples(read_table(data, "test"), card), card)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    copy_code(entry.task, entry.family, folder / "code", checkout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "run_apart", lambda job, code: rehearsal.main(json.loads(job.read_text())))
        tried = rehearse(folder / "model", folder / "code", data, folder / "trial", example=True,
                         probes=folder / "predictions.parquet")  # fmt: skip
    package(folder / "model", folder / "code", tried, data / EXAMPLES, folder / "servable", {})
    return folder / "servable"
