"""Runs as the files of an experiment tell them: searches with their trials, trainings, and evaluated baselines."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from pipeline.files.atomic import read_json
from pipeline.files.digests import content_key, file_digest
from pipeline.tracking.dvc_lock import locked_outputs
from pipeline.tracking.specification import DataInput, Planned, Point, RunSpec, metric_name, number, parameter_texts

FORMAT = 2  # raise it when the runs made below change, so that runs in MLflow are completed once more
HEAVY = {".safetensors", ".parquet"}  # weights go to the registered model, predictions stay with DVC
WHY = {
    "baseline": "what a network must beat to be worth its cost",
    "reference": "what is possible at any price",
    "guess": "what anybody can answer without a model",
}
FACTS = (
    "experiment", "candidate", "task", "family", "data", "code", "seed", "threads", "precision", "settings", "training",
)  # fmt: skip


def planned_runs(experiment: str, candidates: Iterable[str]) -> list[Planned]:
    """The runs of an experiment for which there are files under the working directory."""
    metrics = _json(Path("metrics", f"{experiment}.json"))
    planned = []
    for candidate in candidates:
        search, model = Path("search", experiment, candidate), Path("models", experiment, candidate)
        if (search / "best.json").is_file():
            key = _json(search / "best.json")["key"]
            planned.append(_plan("tune", candidate, key, [search, _timings(experiment, candidate)], partial(
                tune_run, experiment, candidate)))  # fmt: skip
        if (model / "model.json").is_file():
            key = _json(model / "model.json")["key"]
            measured = _measured(metrics, candidate, key)
            places = [model, _timings(experiment, candidate), Path("evaluation", experiment, candidate)]
            planned.append(_plan("train", candidate, key, places if measured else places[:2], partial(
                train_run, experiment, candidate, measured), measured))  # fmt: skip
    for baseline, measured in metrics.get("models", {}).items():
        if measured["kind"] != "candidate":
            key = measured.get("key") or content_key(baseline=baseline, experiment=experiment, data=metrics["data"])
            planned.append(_plan("evaluate", baseline, key, [Path("evaluation", experiment, baseline)], partial(
                baseline_run, experiment, baseline, key, metrics["data"], measured), measured))  # fmt: skip
    return planned


def tune_run(experiment: str, candidate: str) -> RunSpec:
    """A search: the best parameters, the best value so far after every trial, and a child run a trial."""
    folder = Path("search", experiment, candidate)
    best, timings = _json(folder / "best.json"), _timing_figures(experiment, candidate, "tune")
    begin, end = _span(folder / "best.json", timings.get("tune_seconds"))
    trials = _rows(folder / "trials.csv")
    curves = _grouped(_rows(folder / "curves.csv"), "trial")
    times = _times(experiment, candidate, "tune", best["key"])
    slots = [
        (_between(begin, end, place - 1, len(trials)), _between(begin, end, place, len(trials)))
        for place in range(len(trials))
    ]
    children = tuple(
        _trial_run(best, row, curves.get(row["number"], []), *slot, times.get(f"trial-{int(row['number']):03d}", {}))
        for row, slot in zip(trials, slots, strict=True)
    )
    best_so_far = _best_so_far(trials, begin, end)
    facts = {name: best[name] for name in FACTS if name in best}
    score = best["score"]
    figures = {
        f"best_validation_{score['name']}": number(score["value"]),
        "best_validation_loss": number(best.get("loss")),
    }
    figures |= {"trials": number(best["trials"]), "pruned_trials": number(best["pruned"])}
    return RunSpec(
        key=best["key"], kind="tune", name=f"tune {candidate}", begin=begin, end=end,
        tags=_tags(best, candidate, f"Search of {best['trials']} trials, {best['pruned']} of them pruned. "
                   f"Best is trial {best['trial']}: validation {score['name']} {score['value']:.6g}."),
        parameters=parameter_texts(facts) | parameter_texts(best["parameters"], "best/"),
        points=tuple(best_so_far), figures=_numbers(figures) | timings, artifacts=_files(folder),
        data=_data(experiment, best["data"]), children=children,
    )  # fmt: skip


def train_run(experiment: str, candidate: str, measured: Mapping[str, Any]) -> RunSpec:
    """A training: the curves of all repeats, and what validation and test say of the chosen one."""
    folder = Path("models", experiment, candidate)
    model = _json(folder / "model.json")
    timings = _timing_figures(experiment, candidate, "train") | _timing_figures(experiment, candidate, "latency")
    begin, end = _span(folder / "model.json", timings.get("train_seconds"))
    rows = _rows(folder / "history.csv")
    times = _times(experiment, candidate, "train", model["key"])
    points = [
        Point(
            metric_name(f"{name}/seed_{row['repeat']}"),
            int(row["epoch"]),
            value,
            times.get(f"repeat-{row['repeat']}", {}).get(row["epoch"], _between(begin, end, index, len(rows))),
        )
        for index, row in enumerate(rows)
        for name, value in _numbers({name: row[name] for name in row if name not in _COUNTERS}).items()
    ]
    facts = {name: model[name] for name in FACTS if name in model}
    figures = {f"validation_{name}": number(value) for name, value in model["validation"].items()}
    repeats = len(model["repeats"])
    of_several = f", {repeats} repeats; number {model['chosen']} has the lowest validation loss" if repeats > 1 else ""
    pictures = _files(Path("evaluation", experiment, candidate), "evaluation/") if measured else {}
    return RunSpec(
        key=model["key"], kind="train", name=f"train {candidate}", begin=begin, end=end,
        tags=_tags(model, candidate, f"Training of {candidate}{of_several}."),
        parameters=parameter_texts(facts) | parameter_texts(model["parameters"]),
        points=tuple(points), figures=_numbers(figures) | measured_figures(measured) | timings,
        artifacts=_files(folder) | pictures, data=_data(experiment, model["data"]),
    )  # fmt: skip


def baseline_run(experiment: str, baseline: str, key: str, data: str, measured: Mapping[str, Any]) -> RunSpec:
    """A classical method or a guess on the same data, so that it stands in MLflow's table beside the networks."""
    folder = Path("evaluation", experiment, baseline)
    begin, end = _span(Path("metrics", f"{experiment}.json"), None)
    kind = measured.get("kind", "baseline")
    family = "guess" if kind == "guess" else "baseline"
    facts = {"experiment": experiment, "candidate": baseline, "family": family, "data": data}
    why = WHY.get(kind, WHY["baseline"])
    return RunSpec(
        key=key, kind="evaluate", name=f"{kind} {baseline}", begin=begin, end=end,
        tags=_tags(facts, baseline, f"The {kind} {baseline}: {why}."),
        parameters=parameter_texts(facts), figures=measured_figures(measured), artifacts=_files(folder, "evaluation/"),
        data=_data(experiment, data),
    )  # fmt: skip


def measured_figures(measured: Mapping[str, Any]) -> dict[str, float]:
    """Figures of one model of the metrics file, named alike for networks and baselines."""
    figures = {f"validation_{name}": value for name, value in measured.get("validation", {}).items()}
    for name, interval in measured.get("test", {}).items():
        figures |= {
            f"test_{name}": interval["value"],
            f"test_{name}/low": interval["low"],
            f"test_{name}/high": interval["high"],
        }
    for name, values in measured.get("seeds", {}).items():
        figures |= {f"test_{name}/seed_{index}": value for index, value in enumerate(values)}
    figures |= {name: measured.get(name) for name in ("parameters", "multiply_adds")}
    return _numbers(figures)


_COUNTERS = {"repeat", "seed", "epoch", "step", "trial"}


def _plan(
    kind: str, name: str, key: str, folders: list[Path], build: Callable[[], RunSpec], measured: Any = None
) -> Planned:
    """Hashes what a run is made of, without weights and predictions: their key says which they are."""
    digest = hashlib.sha256(json.dumps([FORMAT, kind, name, measured], sort_keys=True).encode())
    for folder in folders:
        for relative, file in _files(folder).items():
            digest.update(f"{folder.as_posix()}/{relative}:{file_digest(file)}".encode())
    return Planned(key, kind, f"{kind} {name}", digest.hexdigest(), build)


def _trial_run(
    best: Mapping[str, Any],
    row: Mapping[str, str],
    curve: list[dict[str, str]],
    begin: float,
    end: float,
    times: Mapping[str, float],
) -> RunSpec:
    """A trial. A pruned one has FINISHED: it was ended as planned, as a tag says; MLflow paints KILLED as a mishap."""
    points = [
        Point(
            metric_name(name),
            int(entry["epoch"]),
            value,
            times.get(entry["epoch"], _between(begin, end, index, len(curve))),
        )
        for index, entry in enumerate(curve)
        for name, value in _numbers({name: entry[name] for name in entry if name not in _COUNTERS}).items()
    ]
    plain = {"True": "true", "False": "false"}  # as the live view, which reads JSON, writes them
    parameters = {
        name: plain.get(value, value)
        for name, value in row.items()
        if name not in ("number", "state", "value", "epochs")
    }
    state = row["state"]
    return RunSpec(
        key=f"{best['key']}/trial-{row['number']}", kind="trial", name=f"trial {row['number']}", begin=begin, end=end,
        tags={"pipeline.candidate": best["candidate"], "pipeline.state": state, "pipeline.origin": "files"},
        parameters=parameter_texts(parameters), points=tuple(points),
        figures=_numbers({"value": number(row["value"])}), status="FAILED" if state == "FAIL" else "FINISHED",
    )  # fmt: skip


def _best_so_far(trials: list[dict[str, str]], begin: float, end: float) -> Iterable[Point]:
    lowest = float("inf")
    for index, row in enumerate(trials):
        value = number(row["value"])
        if row["state"] == "COMPLETE" and value is not None:
            lowest = min(lowest, value)
            yield Point("best_loss_so_far", int(row["number"]), lowest, _between(begin, end, index, len(trials)))


def _tags(facts: Mapping[str, Any], candidate: str, description: str) -> dict[str, str]:
    tags = {"mlflow.note.content": description, "pipeline.candidate": candidate, "pipeline.origin": "files"}
    tags |= {
        f"pipeline.{name}": str(facts[name]) for name in ("family", "task", "data", "code", "seed") if name in facts
    }
    if "architecture" in facts.get("parameters", {}):
        tags["pipeline.architecture"] = str(facts["parameters"]["architecture"])
    return tags


def _data(experiment: str, digest: str) -> DataInput:
    """The prepared data: our digest of the bytes, and DVC's where dvc.lock knows one."""
    folder = Path("data/prepared", experiment)
    card = _json(folder / "card.json")
    current = card.get("data") == digest
    md5 = _dvc_versions(Path.cwd()).get(folder.as_posix()) if current else None
    tags = {"pipeline.data": digest, "mlflow.data.context": "training", **({"dvc.md5": md5} if md5 else {})}
    profile = {"examples": card["counts"], "split": card.get("split")} if current and "counts" in card else {}
    return DataInput(experiment, digest[:36], folder.as_posix(), profile, tags)  # MLflow takes digests of 36 characters


@cache
def _dvc_versions(root: Path) -> dict[str, str]:
    """Path → MD5 of everything that dvc.lock knows."""
    return {output.path: output.md5 for output in locked_outputs(root)}


def _measured(metrics: Mapping[str, Any], candidate: str, key: str) -> dict[str, Any]:
    """Returns what the metrics file says of this very training; nothing where it speaks of an earlier one."""
    entry: dict[str, Any] = metrics.get("models", {}).get(candidate, {})
    return entry if entry.get("key") == key else {}


def _timings(experiment: str, candidate: str) -> Path:
    return Path("timings", experiment, candidate)


def _timing_figures(experiment: str, candidate: str, piece: str) -> dict[str, float]:
    timings = _json(_timings(experiment, candidate) / f"{piece}.json")
    return _numbers({f"{piece}_{name}": value for name, value in timings.items()})


def _times(experiment: str, candidate: str, piece: str, key: str) -> dict[str, dict[str, float]]:
    """Piece → epoch → when it ended, where this machine has seen this very work; the journals said the same live."""
    document = _json(_timings(experiment, candidate) / f"{piece}.times.json")
    times: dict[str, dict[str, float]] = document["times"] if document.get("key") == key else {}
    return times


def _files(folder: Path, prefix: str = "") -> dict[str, Path]:
    """Files of a folder by their path in the run, without the heavy ones."""
    files = sorted(path for path in folder.glob("**/*") if path.is_file() and path.suffix not in HEAVY)
    return {prefix + path.relative_to(folder).as_posix(): path for path in files if not path.name.startswith(".")}


def _span(file: Path, seconds: float | None) -> tuple[float, float]:
    """(begin, end) of a run that nobody watched: it ended when its file was written."""
    end = file.stat().st_mtime
    return end - (seconds or 0.0), end


def _between(begin: float, end: float, index: int, count: int) -> float:
    return begin + (end - begin) * (index + 1) / max(1, count)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    numbers = {metric_name(name): number(value) for name, value in values.items()}
    return {name: value for name, value in numbers.items() if value is not None}


def _json(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _grouped(rows: list[dict[str, str]], column: str) -> dict[str, list[dict[str, str]]]:
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups
