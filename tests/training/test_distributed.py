"""Training over two processes: one model, one writer, and nearly the numbers of one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline.params import Choices, Range, load


@pytest.fixture
def repository(tiny: dict[str, Any], prepared: Path, tmp_path: Path, save: Callable[..., Path]) -> Path:
    """A folder with prepared data and the best parameters of co2-rnn."""
    tiny["experiments"]["co2"]["training"] |= {"epochs": 2, "repeats": 2, "batch_size": 30}
    save(tiny, tmp_path)
    (tmp_path / "data").symlink_to(prepared / "data")
    space = load(tmp_path / "params.yaml").candidates["co2-rnn"].parameters
    best = {
        name: entry.choices[-1] if isinstance(entry, Choices) else entry.high if isinstance(entry, Range) else entry
        for name, entry in space.items()
    }
    (tmp_path / "search/co2/co2-rnn").mkdir(parents=True)
    (tmp_path / "search/co2/co2-rnn/best.json").write_text(json.dumps({"parameters": best}), encoding="utf-8")
    return tmp_path


def trained(folder: Path, call: Any, **trainer: Any) -> tuple[pd.DataFrame, dict[str, Any], str]:
    document = YAML(typ="safe", pure=True).load(folder / "params.yaml")
    document["trainer"] |= trainer
    YAML(pure=True).dump(document, folder / "params.yaml")
    done = call(folder, "train", "co2-rnn")
    assert done.returncode == 0, done.stderr
    target = folder / "models/co2/co2-rnn"
    history = pd.read_csv(target / "history.csv")
    return history, json.loads((target / "model.json").read_text(encoding="utf-8")), done.stdout


@pytest.mark.timeout(300)
def test_two_processes_train_nearly_what_one_does_and_one_of_them_writes(repository: Path, call: Any) -> None:
    from mlflow.tracking import MlflowClient

    history, model, said = trained(repository, call, devices=2, strategy="ddp")
    assert said.count("train: 2 repeats, best validation mae") == 1, said
    assert list((repository / ".work").iterdir()) == []
    client = MlflowClient(f"sqlite:///{repository / 'mlflow.db'}")
    (experiment,) = [found for found in client.search_experiments() if found.name == "co2"]
    assert len(client.search_runs([experiment.experiment_id])) == 1, "only the first process tracks"

    alone, single, _ = trained(repository, call, devices=1, strategy="auto")
    assert list(history) == list(alone) and len(history) == len(alone) == 4
    assert history["step"].tolist() == alone["step"].tolist()
    for column in ("train_loss", "validation_loss", "validation_mae"):
        pd.testing.assert_series_equal(history[column], alone[column], rtol=0.02)
    assert model["key"] != single["key"]
    assert model["validation"]["mae"] == pytest.approx(single["validation"]["mae"], rel=0.02)
