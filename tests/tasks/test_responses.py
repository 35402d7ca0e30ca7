"""The served way of every task: answers to what users send are scored like predictions, whatever was prepared since."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pipeline.data.tables import EXAMPLES, REQUESTS, read_card, read_table
from pipeline.data.tokens import as_texts
from pipeline.formats.contents import digests_of, digests_of_pictures, digests_of_texts
from pipeline.params import load as load_params
from pipeline.registry.examples import read_examples
from pipeline.stages import prepare
from pipeline.tasks import load_task
from pipeline.tasks.network import build_network
from pipeline.tasks.task import Task
from pipeline.training.preflight import smallest

TINY = load_params(Path(__file__).parents[1] / "tiny.yaml")
every_experiment = pytest.mark.parametrize("experiment", TINY.experiments)

# What a team changes between two trainings, for every task: all settings that leave models comparable, and train grows.
CHANGED: dict[str, dict[str, Any]] = {
    "co2": {"lookback": 60, "season": 26, "missing": "last", "interval": 0.5, "score": "mse", "units": "deviations"},
    "tides": {"lookback": 20, "missing": "last", "interval": 0.5, "score": "mae", "units": "own"},
    "pairs": {"vocabulary": 60, "lowercase": False, "longest": 5, "beams": 1, "length_penalty": 0.0},
    "opinions": {"vocabulary": 60, "lowercase": False, "longest": 7},
    "shapes": {"confidence": 0.3, "overlap": 0.3, "most_boxes": 3},
    "tones": {"units": "words", "lowercase": False, "longest": 0.4},
    "stripes": {"samples": 20},
    "canvas": {"content_weight": 3.0, "style_weight": 0.5, "iterations": 1, "style_layers": ["relu1_1"]},
}


def model(folder: Path, experiment: str) -> tuple[Task, nn.Module, dict[str, Any]]:
    """An untrained network for the prepared data of a folder."""
    entry = TINY.experiments[experiment]
    card, task = read_card(folder), load_task(entry.task, entry.settings)
    candidate = TINY.candidates[entry.candidates[0]]
    torch.manual_seed(0)
    return task, build_network(task, candidate.family, card, next(iter(smallest(candidate.parameters)))).eval(), card


def score(task: Task, predictions: pd.DataFrame, card: Mapping[str, Any]) -> float:
    return task.metrics(predictions, card)[task.score]


@every_experiment
def test_answers_to_requests_are_scored_like_predictions_of_the_tables(prepared: Path, experiment: str) -> None:
    folder = prepared / "data/prepared" / experiment
    task, network, card = model(folder, experiment)
    table, requests = read_table(folder, "test"), pd.read_parquet(folder / REQUESTS)
    predicted = task.predict(network, task.examples(table, card), card)
    answered = task.predictions_of(task.respond(network, requests, card), table, card)
    expected, found = (task.example_scores(rows) for rows in (predicted, answered))
    # A style is judged by pictures of 256 levels once they have been sent.
    np.testing.assert_allclose(found, expected, rtol=1e-2 if experiment == "canvas" else 1e-5, atol=1e-6)
    if experiment != "canvas":
        assert score(task, answered, card) == pytest.approx(score(task, predicted, card), abs=1e-5)


@every_experiment
def test_no_setting_and_no_growth_of_train_changes_the_score_of_a_model_on_the_same_examples(
    prepared: Path, experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prepared / "data/prepared" / experiment
    task, network, card = model(before, experiment)
    after = prepared_anew(prepared, experiment, tmp_path, monkeypatch)
    requests = [pd.read_parquet(folder / REQUESTS) for folder in (before, after)]
    digests = [read_examples(folder / EXAMPLES)["test"] for folder in (before, after)]
    assert read_card(before)["data"] != read_card(after)["data"], "something has changed"
    responses = [task.respond(network, requests[0], card), task.respond(network, requests[1], card)]
    np.testing.assert_array_equal(*digests)
    table = read_table(before, "test")
    first, second = (task.example_scores(task.predictions_of(found, table, card)) for found in responses)
    np.testing.assert_allclose(second, first, atol=1e-6)


@pytest.mark.parametrize("experiment", ["pairs", "tones"])
def test_answers_in_capitals_are_right_where_references_have_none(prepared: Path, experiment: str) -> None:
    """A champion that was trained with `lowercase: false` is scored by a challenger that has it."""
    folder = prepared / "data/prepared" / experiment
    task, _, card = model(folder, experiment)
    table = read_table(folder, "test")
    truth = [text.title() for text in as_texts(table["reference"].numpy())]
    responses = pd.DataFrame({"translation": truth, "transcript": truth, "confidence": 1.0})
    best = {"pairs": 100.0, "tones": 0.0}[experiment]
    assert card["lowercase"] and score(task, task.predictions_of(responses, table, card), card) == pytest.approx(best)


def prepared_anew(prepared: Path, experiment: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data prepared once more, with other settings and with fewer examples in train, as before it grew."""
    document = TINY.model_copy(deep=True)
    entry = document.experiments[experiment]
    raw = root / entry.data.path
    shutil.copytree(prepared / entry.data.path, raw)
    entry.settings.update(CHANGED.get(experiment, {}))
    examples = read_examples(prepared / "data/prepared" / experiment / EXAMPLES)
    SHRINK.get(experiment, lambda *_: None)(raw, entry, set(examples["train"].tolist()))
    monkeypatch.chdir(root)
    prepare.main(experiment, document)
    return root / "data/prepared" / experiment


def shrink_lines(*names: str) -> Any:
    """The last lines of files go, all of which belong to train."""

    def shrink(raw: Path, entry: Any, train: set[int]) -> None:
        for name in names:
            lines = (raw / name).read_text(encoding="utf-8").splitlines(keepends=True)
            (raw / name).write_text("".join(lines[:-4]), encoding="utf-8")

    return shrink


def shrink_pairs(raw: Path, entry: Any, train: set[int]) -> None:
    sides = [(raw / name).read_text(encoding="utf-8").splitlines() for name in ("text.en", "text.ne")]
    learned = [int(digest) in train for digest in digests_of_texts(sides[0])]
    gone = set(np.flatnonzero(learned)[:7].tolist())
    for name, side in zip(("text.en", "text.ne"), sides, strict=True):
        kept = [line for row, line in enumerate(side) if row not in gone]
        (raw / name).write_text("\n".join(kept) + "\n", encoding="utf-8")


def shrink_digits(raw: Path, entry: Any, train: set[int]) -> None:
    lines = gzip.decompress((raw / "digits.csv.gz").read_bytes()).decode().splitlines()
    pixels = [np.array(line.split(",")[:-1], dtype=np.float64).astype(np.uint8).tobytes() for line in lines[:400]]
    gone = set(np.flatnonzero([int(digest) in train for digest in digests_of(pixels)])[:9].tolist())
    kept = [line for row, line in enumerate(lines[:400]) if row not in gone]
    (raw / "digits.csv.gz").write_bytes(gzip.compress(("\n".join(kept) + "\n").encode()))
    entry.data.options["rows"] = [0, 391]


def shrink_folders(raw: Path, entry: Any, train: set[int]) -> None:
    for folder in (path for path in sorted(raw.iterdir()) if path.is_dir()):
        files = [file for file in sorted(folder.iterdir()) if int(digests_of_pictures([file])[0]) in train]
        files[0].unlink()


def shrink_weeks(raw: Path, entry: Any, train: set[int]) -> None:
    del entry.data.options["rows"]
    entry.data.parts.clear()
    rows = {"train": [320, 720], "validation": [720, 810], "test": [810, 900]}
    entry.data.parts.update({part: {"file": "co2.csv", "rows": both} for part, both in rows.items()})
    entry.split.__dict__.update(validation=None, test=None)


def shrink_hours(raw: Path, entry: Any, train: set[int]) -> None:
    entry.data.parts["train"]["rows"] = [10, 150]


# Of so few pictures as the canvas has, which of them are test depends on how many there are.
SHRINK: dict[str, Any] = {
    "digits": shrink_digits,
    "co2": shrink_weeks,
    "pairs": shrink_pairs,
    "opinions": shrink_lines("train.tsv"),
    "waves": shrink_lines("waves_TRAIN.ts"),
    "shapes": shrink_lines("ImageSets/Main/train.txt"),
    "tides": shrink_hours,
    "tones": shrink_lines("train.tsv"),
    "stripes": shrink_folders,
}
