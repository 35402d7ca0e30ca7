"""A second clone: the same lock with one worker and without a server, which gets everything later; and own data."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clones import Clone, free_port, serving, store
from PIL import Image

pytestmark = pytest.mark.timeout(600)
SECRET = "geheim-7f3a"  # the password in the server's address


def address_with_password(port: int) -> str:
    return f"http://ann:{SECRET}@127.0.0.1:{port}"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def clone(clone_into: Callable[[Path], Clone], tmp_path_factory: pytest.TempPathFactory, port: int) -> Clone:
    """A clone that works with one worker and with a tracking server that is not there yet."""

    def one_worker(document: dict[str, Any]) -> None:
        document["workers"] = 1

    made = clone_into(tmp_path_factory.mktemp("second"))
    made.edit(one_worker)
    made.ran, made.said = made.repro(MLFLOW_TRACKING_URI=address_with_password(port))
    return made


def test_without_the_server_everything_is_trained_and_waits(clone: Clone, port: int) -> None:
    assert len(clone.ran) == 9
    assert (clone.folder / "models/digits/digits-rnn/model.safetensors").exists()
    record = json.loads(clone.read("reports/registry.json"))
    assert record["tracking"] == f"http://127.0.0.1:{port}"
    (reason,) = record["experiments"]["digits"]["pending"]
    assert reason.startswith(f"everything that is new of digits: http://127.0.0.1:{port}: ")
    assert "no live view in MLflow" in clone.said
    assert not (clone.folder / "mlflow.db").exists(), "runs do not go astray into another store"


def test_the_server_gets_everything_when_it_is_back(clone: Clone, port: int, tmp_path: Path) -> None:
    lock = clone.read("dvc.lock")
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts"), "--host", "127.0.0.1", "--port", str(port)]
    with serving([*command, "--workers", "1"], f"{address}/health", tmp_path):
        ran, said = clone.repro(MLFLOW_TRACKING_URI=address_with_password(port))
        assert ran == ["register", "report"]
        found = store(tmp_path / "server.db")
        again, _ = clone.repro(MLFLOW_TRACKING_URI=address_with_password(port))
        assert again == ["register", "report"]
        assert store(tmp_path / "server.db") == found
    assert SECRET not in clone.said + said
    assert told_in(clone.folder) == told_in(tmp_path) == [], "neither here nor on the server"
    assert sum("/trial-" in key for key, _ in found["runs"]) == 4
    assert found["versions"] == [("digits", 1)] and ("digits", "champion", 1) in found["aliases"]
    assert clone.read("dvc.lock") == lock
    assert json.loads(clone.read("reports/registry.json"))["experiments"]["digits"]["pending"] == []


def told_in(folder: Path) -> list[str]:
    """Files in which the password stands: outputs, logs, reports, records, tags and parameters in databases."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path) for path in files if SECRET.encode() in path.read_bytes()]


def test_one_worker_and_two_in_different_clones_give_the_same_lock(
    clone: Clone, clone_into: Callable[[Path], Clone], tmp_path: Path
) -> None:
    """Up to the training of one candidate: the rest of the way takes the same time again."""
    other = clone_into(tmp_path / "third")
    ran, _ = other.repro("train@digits-rnn", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert ran == ["fetch@digits", "prepare@digits", "tune@digits-rnn", "train@digits-rnn"]
    first = json_of_lock(clone)
    assert {stage: first[stage] for stage in ran} == json_of_lock(other)


def test_evaluating_once_more_gives_the_same_lock_and_metrics(clone: Clone) -> None:
    lock, metrics = clone.read("dvc.lock"), clone.read("metrics/digits.json")
    other = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}  # another shell; params.yaml says one thread
    clone.run("dvc", "repro", "--force", "--single-item", "evaluate@digits", **other)
    assert (clone.read("dvc.lock"), clone.read("metrics/digits.json")) == (lock, metrics)


def json_of_lock(clone: Clone) -> dict[str, Any]:
    from ruamel.yaml import YAML

    found: dict[str, Any] = YAML(typ="safe", pure=True).load(clone.read("dvc.lock"))["stages"]
    return found


def test_own_pictures_and_own_series_need_entries_in_params_yaml_alone(clone: Clone) -> None:
    generator = np.random.default_rng(0)
    for kind, bright in (("dark", 60), ("light", 190)):
        folder = clone.folder / "data/raw/shades" / kind
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(bright - 40, bright + 40, (12, 10), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.{'PNG' if number % 2 else 'jpg'}")
    steps = np.arange(160)
    values = 10 + np.sin(steps * np.pi / 6) + generator.normal(scale=0.05, size=160)
    days = np.datetime64("2020-01-01") + steps
    rows = [
        f"{day},{'' if step == 7 else f'{value:.4f}'}"
        for step, (day, value) in enumerate(zip(days, values, strict=True))
    ]
    (clone.folder / "data/raw/wave").mkdir()
    (clone.folder / "data/raw/wave/wave.csv").write_text("\n".join(["day,level", *rows]) + "\n", encoding="utf-8")
    clone.edit(with_own_data)
    lock = json_of_lock(clone)
    said = clone.run(sys.executable, "-m", "pipeline", "check").stdout
    assert said == (
        "check: params.yaml is sound: 3 experiments, 4 candidates\n"
        "check: differences/params.yaml is sound: 10 of 10 differences, setting quick\n"
    )
    ran, _ = clone.repro("evaluate@shades", "evaluate@wave")
    expected = [f"{stage}@{experiment}" for experiment in ("shades", "wave") for stage in ("prepare", "evaluate")]
    expected += [f"{stage}@{name}" for name in ("shades-cnn", "wave-rnn") for stage in ("tune", "train")]
    assert sorted(ran) == sorted(expected)
    shades, wave = (json.loads(clone.read(f"metrics/{name}.json")) for name in ("shades", "wave"))
    assert shades["models"]["svc"]["test"]["accuracy"]["value"] == 1.0
    assert set(wave["models"]) == {"wave-rnn", "seasonal_naive", "ridge", "train_mean", "last_value"}
    assert wave["models"]["ridge"]["test"]["mae"]["value"] < 0.2
    for stage, entry in lock.items():
        assert json_of_lock(clone)[stage] == entry, "what was there before is not touched"


def with_own_data(document: dict[str, Any]) -> None:
    budget = document["experiments"]["digits"]["training"] | {
        "batch_size": 8, "trials": 1, "generation": 1, "trial_epochs": 1, "pruning": None, "epochs": 1, "repeats": 1,
    }  # fmt: skip
    document["experiments"] |= {
        "shades": {
            "candidates": ["shades-cnn"], "description": "Dark and light", "settings": {},
            "task": "image_classification", "split": {"validation": 0.2, "test": 0.2}, "training": dict(budget),
            "data": {"path": "data/raw/shades", "format": "class_folders", "parts": {"all": {"directory": "."}},
                     "options": {"height": 8, "width": 8, "mode": "L"}},
        },
        "wave": {
            "candidates": ["wave-rnn"], "description": "A wave", "task": "forecasting",
            "split": {"validation": 0.2, "test": 0.2}, "training": dict(budget),
            "settings": {"lookback": 14, "horizon": 3, "season": 12, "missing": "last", "interval": 0.8,
                         "score": "mae", "units": "own"},
            "data": {"path": "data/raw/wave", "format": "csv_series", "parts": {"all": {"file": "wave.csv"}},
                     "options": {"date": "day", "date_format": "ISO8601", "columns": ["level"]}},
        },
    }  # fmt: skip
    heads = {
        "shades-cnn": {"shift": 0, "flip": False, "label_smoothing": 0.0},
        "wave-rnn": {
            "reference": "last",
            "linear": True,
            "series": "together",
            "segment": 1,
            "decoder": "direct",
            "point": "median",
        },
    }
    for name, head in heads.items():
        experiment, family = name.split("-")
        digits = document["candidates"][f"digits-{family}"]["parameters"]
        common = {key: value for key, value in digits.items() if key not in heads["shades-cnn"]}
        document["candidates"][name] = {
            "experiment": experiment,
            "task": document["experiments"][experiment]["task"],
            "family": family,
            "parameters": common | head,
        }
