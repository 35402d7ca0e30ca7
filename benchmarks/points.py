"""Points of learning curves into MLflow: our ways against Lightning's MLFlowLogger, into one sqlite store, in turn."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import mlflow
from pytorch_lightning.loggers import MLFlowLogger

from benchmarks.table import Figure, ratio
from pipeline.params import Tracking
from pipeline.tracking.address import Address, address_of
from pipeline.tracking.client import connect, experiment_id
from pipeline.tracking.outputs import planned_runs
from pipeline.tracking.stream import Identity, Stream
from pipeline.tracking.sync import sync

METRICS = ("learning_rate", "train_loss", "validation_loss", "validation_accuracy")  # of an epoch, as trainings have
# What Lightning's Trainer calls in an epoch: LearningRateMonitor, the validation, the training. It adds the epoch,
# which we do not count as a point.
CALLS = (("learning_rate",), ("validation_loss", "validation_accuracy", "epoch"), ("train_loss", "epoch"))
Way = Callable[[Any, Address, str, int], float]


def measure(quick: bool) -> list[Figure]:
    """Rounds of all three: the logger gets fewer epochs than we do, because what is compared is points a second."""
    epochs, rounds = ({"logger": 25, "one call": 25, "live": 50, "files": 50}, 1) if quick else (
        {"logger": 250, "one call": 250, "live": 2500, "files": 2500}, 5)  # fmt: skip
    ways: dict[str, Way] = {
        "logger": partial(by_logger, CALLS), "one call": partial(by_logger, [METRICS]),
        "live": by_journal, "files": by_files,
    }  # fmt: skip
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with _store() as (client, address):
        for number in range(rounds):
            for name, way in ways.items():
                seconds = way(client, address, f"{name}{number}", epochs[name])
                rates[name].append(len(METRICS) * epochs[name] / seconds)
    said = ", ".join(f"{name} {median(found):.0f}" for name, found in rates.items())
    live, files = (ratio(rates[name], rates["logger"]) for name in ("live", "files"))
    least = ratio(rates["live"], rates["one call"])
    return [
        Figure(f"points: {len(METRICS)} metrics an epoch into sqlite; points/s: {said}", ""),
        Figure("points: rate of the live view ÷ Lightning's MLFlowLogger", live, "≥ 20"),
        Figure("points: rate of the live view ÷ MLFlowLogger with all metrics of an epoch in one call", least),
        Figure("points: rate of `register` from files ÷ Lightning's MLFlowLogger", files),
    ]


def by_logger(calls: Sequence[Sequence[str]], client: Any, address: Address, key: str, epochs: int) -> float:
    """Seconds of `log_metrics`, called for these metrics in every epoch."""
    logger = MLFlowLogger("logger", run_name=key, tracking_uri=address.uri)
    assert logger.run_id  # creates the run
    begin = time.perf_counter()
    for epoch in range(epochs):
        values = _values(epoch)
        for names in calls:
            logger.log_metrics({name: values[name] for name in names}, step=epoch)
    seconds = time.perf_counter() - begin
    logger.finalize("success")
    mlflow.set_tracking_uri(None)  # the logger has made its address MLflow's default, for whatever comes after it
    _check(client, str(logger.run_id), METRICS[0], epochs)
    return seconds


def by_journal(client: Any, address: Address, key: str, epochs: int) -> float:
    """Seconds from the lines of a journal to points in the run, as after an outage."""
    work = Path(key)
    work.mkdir()
    lines = [json.dumps({"epoch": epoch, "time": float(epoch), "metrics": _points(epoch)}) for epoch in range(epochs)]
    (work / "repeat-0.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    stream = Stream(address, Identity("live", "train", "benchmark", key, ""), work, {})
    assert stream.attach(client) == "ours"
    begin = time.perf_counter()
    stream.poll(client)
    seconds = time.perf_counter() - begin
    stream.close(client, "FINISHED")
    _check(client, stream.run_id, f"{METRICS[0]}/seed_0", epochs)
    return seconds


def by_files(client: Any, address: Address, key: str, epochs: int) -> float:
    """Seconds from the files of a training to its complete run, with everything else that belongs to a run."""
    folder = Path("models", "files", "benchmark")
    folder.mkdir(parents=True, exist_ok=True)
    found = {"key": key, "candidate": "benchmark", "data": "0", "parameters": {}, "repeats": [0], "chosen": 0,
             "validation": {}, "task": "image_classification", "family": "cnn", "code": "0"}  # fmt: skip
    (folder / "model.json").write_text(json.dumps(found), encoding="utf-8")
    with (folder / "history.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["repeat", "seed", "epoch", "step", *METRICS])
        table.writerows([0, 0, epoch, epoch, *_points(epoch).values()] for epoch in range(epochs))
    place = experiment_id(client, address, "files", "")
    begin = time.perf_counter()
    sent = sync(client, place, planned_runs("files", ["benchmark"]), address.root)
    seconds = time.perf_counter() - begin
    _check(client, sent.run_ids[key], f"{METRICS[0]}/seed_0", epochs)
    return seconds


def _values(epoch: int) -> dict[str, float]:
    return {name: (index + 1) / (epoch + 1) for index, name in enumerate((*METRICS, "epoch"))}


def _points(epoch: int) -> dict[str, float]:
    return {name: value for name, value in _values(epoch).items() if name in METRICS}


def _check(client: Any, run_id: str, metric: str, epochs: int) -> None:
    """Nobody is quick by leaving something out."""
    history = client.get_metric_history(run_id, metric)
    if sorted(point.step for point in history) != list(range(epochs)):
        raise RuntimeError(f"{metric} has {len(history)} points instead of {epochs}")


@contextmanager
def _store() -> Iterator[tuple[Any, Address]]:
    """A new store in a temporary folder, which is the working directory meanwhile."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    uri = os.environ.pop("MLFLOW_TRACKING_URI", None)
    folder = Path(tempfile.mkdtemp())
    try:
        with chdir(folder):
            address = address_of(Tracking(uri=None, artifacts=None))
            yield connect(address), address
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if uri is not None:
            os.environ["MLFLOW_TRACKING_URI"] = uri
