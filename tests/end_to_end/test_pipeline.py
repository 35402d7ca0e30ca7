"""The whole way in a fresh clone: `dvc repro` makes everything, again changes nothing, and mends what is missing."""

from __future__ import annotations

import base64
import json
import shutil
import sys
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from clones import Clone, free_port, serving, store

pytestmark = pytest.mark.timeout(600)
STAGES = [
    "fetch@digits", "prepare@digits", "tune@digits-cnn", "tune@digits-rnn", "train@digits-cnn", "train@digits-rnn",
    "evaluate@digits", "register", "report",
]  # fmt: skip
OUTPUTS = [
    "data/raw/digits/digits.csv.gz", "data/prepared/digits/card.json", "search/digits/digits-rnn/trials.csv",
    "models/digits/digits-cnn/model.safetensors", "models/digits/digits-rnn/history.csv",
    "evaluation/digits/svc/predictions.parquet", "evaluation/digits/digits-cnn/confusion.png", "metrics/digits.json",
    "reports/index.html", "reports/summary.md", "reports/registry.json", "mlflow.db",
]  # fmt: skip


@pytest.fixture(scope="module")
def committed(whole: Clone) -> Clone:
    whole.commit()
    return whole


def test_the_first_run_makes_every_output(whole: Clone) -> None:
    assert sorted(whole.ran) == sorted(STAGES)
    assert [name for name in OUTPUTS if not (whole.folder / name).exists()] == []
    metrics = json.loads(whole.read("metrics/digits.json"))
    assert set(metrics["models"]) == {"digits-cnn", "digits-rnn", "svc", "most_common_class"}
    assert metrics["models"]["svc"]["test"]["accuracy"]["value"] > 0.8
    assert metrics["models"][metrics["challenger"]]["test"]["accuracy"]["value"] > 0.8
    assert set(whole.status().split()) == {"??", "dvc.lock", "metrics/"}, "all else is ignored by git"


def test_mlflow_has_a_run_for_every_piece_of_work_and_a_champion(whole: Clone) -> None:
    found = store(whole.folder / "mlflow.db")
    assert len({key for key, _ in found["runs"]}) == len(found["runs"])
    assert {status for _, status in found["runs"]} == {"FINISHED"}
    children = [key for key, _ in found["runs"] if "/trial-" in key]
    assert len(children) == 4, "two trials of each candidate"
    assert found["versions"] == [("digits", 1)]
    assert ("digits", "champion", 1) in found["aliases"]
    record = json.loads(whole.read("reports/registry.json"))["experiments"]["digits"]
    assert record["champion"]["version"] in (1, "1") and record["pending"] == []


def test_another_run_changes_nothing(committed: Clone) -> None:
    lock, before = committed.read("dvc.lock"), store(committed.folder / "mlflow.db")
    assert committed.status() == ""
    ran, _ = committed.repro()
    assert ran == ["register", "report"]
    assert committed.read("dvc.lock") == lock
    assert store(committed.folder / "mlflow.db") == before
    assert committed.status() == ""
    assert json.loads(committed.read("reports/registry.json"))["experiments"]["digits"]["sent"] == []


def test_dvc_shows_metrics_and_plots(committed: Clone) -> None:
    shown = json.loads(committed.run("dvc", "metrics", "show", "--json").stdout)
    models = shown[""]["data"]["metrics/digits.json"]["data"]["models"]
    assert models["svc"]["kind"] == "baseline"
    plots = committed.run("dvc", "plots", "show", "--out", ".work/plots")
    page = plots.stdout.strip().removeprefix("file://")
    assert "Validation loss of digits-cnn" in Path(page).read_text(encoding="utf-8")


def test_a_lost_tracking_store_is_restored_from_the_files(committed: Clone) -> None:
    lock, before = committed.read("dvc.lock"), store(committed.folder / "mlflow.db")
    for path in committed.folder.glob("mlflow.db*"):
        path.unlink()
    shutil.rmtree(committed.folder / "mlartifacts")
    ran, _ = committed.repro()
    assert ran == ["register", "report"], "nothing is trained again"
    assert store(committed.folder / "mlflow.db") == before
    assert committed.read("dvc.lock") == lock
    assert committed.status() == ""


def test_the_champion_answers_over_http_with_the_class_that_evaluation_found(committed: Clone) -> None:
    from pipeline.data.tables import read_card, read_table
    from pipeline.formats.image import png

    prepared = committed.folder / "data/prepared/digits"
    card, images = read_card(prepared), read_table(prepared, "test")["images"].numpy()
    champion = json.loads(committed.read("reports/registry.json"))["experiments"]["digits"]["champion"]["candidate"]
    expected = pd.read_parquet(committed.folder / f"evaluation/digits/{champion}/predictions.parquet")
    rows = expected[expected["label"] == expected["predicted"]]["example"].head(3).tolist()
    records = [{"image": base64.b64encode(png(images[row], card["maximum"])).decode()} for row in rows]
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/digits@champion"]
    command += ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port), "-w", "1"]
    uri = f"sqlite:///{committed.folder / 'mlflow.db'}"
    variables = {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": ""}
    with serving(command, f"http://127.0.0.1:{port}/ping", committed.folder / ".work", **variables):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"dataframe_records": records}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answers = json.load(response)["predictions"]
    assert [answer["class"] for answer in answers] == [card["classes"][expected["label"][row]] for row in rows]
    for answer, row in zip(answers, rows, strict=True):
        assert answer["confidence"] == pytest.approx(expected["confidence"][row], abs=1e-4)
