"""Evaluation stores and compares all that answers, and depends on the threads of params.yaml, not on the shell's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.data.tables import Table, read_table
from pipeline.params import load
from pipeline.stages import evaluate
from pipeline.tasks.classification import prediction_table

PROGRAM = """
from pipeline.stages.evaluate import _use_threads
_use_threads(1)
import sklearn.linear_model, torch
from threadpoolctl import threadpool_info
print({entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}, torch.get_num_threads())
"""


def test_linear_algebra_has_the_threads_of_params_yaml_whatever_the_shell_says(root: Path) -> None:
    shell = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={**os.environ, **shell}, capture_output=True, text=True, check=True)
    assert done.stdout == "{1} 1\n"


def faultless(folder: Path, tables: dict[str, Table], experiment: str, name: str) -> tuple[dict[str, Any], Any]:
    """Facts and predictions of a candidate that is always right."""
    labels = {split: tables[split]["labels"].numpy() for split in ("validation", "test")}
    predictions = {split: prediction_table(np.eye(3)[truth], truth) for split, truth in labels.items()}
    return {"kind": "candidate", "validation_loss": 0.0, "key": name}, predictions


def test_guesses_are_stored_and_compared_with_every_candidate_and_not_drawn(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(prepared / "data")
    monkeypatch.setattr(evaluate, "_candidate", faultless)
    monkeypatch.setattr(evaluate, "_use_threads", lambda threads: None)
    evaluate.main("waves", load(root / "tests/tiny.yaml"))
    metrics = json.loads(Path("metrics/waves.json").read_text(encoding="utf-8"))
    kinds = {name: entry["kind"] for name, entry in metrics["models"].items()}
    assert kinds == {"waves-cnn": "candidate", "waves-rnn": "candidate", "nearest_neighbour": "baseline",
                     "most_common_class": "guess"}  # fmt: skip
    train, test = (read_table(Path("data/prepared/waves"), split)["labels"].numpy() for split in ("train", "test"))
    right = float((test == np.bincount(train).argmax()).mean())
    assert metrics["models"]["most_common_class"]["test"]["accuracy"]["value"] == pytest.approx(right)
    for candidate in ("waves-cnn", "waves-rnn"):
        found = metrics["differences"][f"{candidate} − most_common_class"]
        assert found["difference"] == pytest.approx(1 - right) and found["low"] > 0 and found["p_value"] < 0.001
    guess = Path("evaluation/waves/most_common_class")
    assert {file.name for file in guess.iterdir()} == {"predictions.parquet", "validation.parquet"}
    assert len(pd.read_parquet(guess / "predictions.parquet")) == len(test)
    assert list(Path("evaluation/waves/waves-cnn").glob("*.png"))
