"""The files about an experiment, gathered for those who show it. Files that are not there are None."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.params import Params

Json = Mapping[str, Any]


@dataclass(frozen=True)
class CandidateResults:
    """One family's way through an experiment."""

    name: str
    family: str
    best: Json | None  # search/…/best.json
    model: Json | None  # models/…/model.json
    failed: int  # trials of the search that ended with an error
    seconds: Mapping[str, float]  # of tune and train, where they were measured
    latency: Json | None  # timings/…/latency.json
    curves: tuple[Path, ...]
    search_pictures: tuple[Path, ...]


@dataclass(frozen=True)
class Results:
    """All that is known about one experiment."""

    name: str
    description: str
    task: str
    metrics: Json | None
    before: Json | None  # the metrics of the last commit
    card: Json | None
    candidates: Mapping[str, CandidateResults]
    pictures: Mapping[str, tuple[Path, ...]]  # of the predictions, by model
    registry: Json | None  # the experiment's part of reports/registry.json
    notes: tuple[str, ...]  # what is missing or out of date, and what to do about it


def read_results(params: Params, name: str, root: Path) -> Results:
    """Reads the files of the experiment `name` under `root`, the repository."""
    experiment = params.experiments[name]
    metrics = _json(root / "metrics" / f"{name}.json")
    families = {key: params.candidates[key].family for key in experiment.candidates}
    candidates = {key: _candidate(root, name, key, family) for key, family in families.items()}
    registry = (_json(root / "reports" / "registry.json") or {}).get("experiments", {}).get(name)
    card = _json(root / "data" / "prepared" / name / "card.json")
    return Results(
        name=name,
        description=experiment.description,
        task=experiment.task,
        metrics=metrics,
        before=metrics_of_last_commit(name, root),
        card=card,
        candidates=candidates,
        pictures={
            model: pictures for model in (metrics or {}).get("models", {}) if (pictures := _pictures(root, name, model))
        },
        registry=registry,
        notes=tuple(_notes(name, metrics, card, candidates, registry)),
    )


def metrics_of_last_commit(name: str, root: Path) -> Json | None:
    """Reads metrics/<name>.json as it was committed last; None without git, a commit, or the file in it."""
    command = ["git", "show", f"HEAD:./metrics/{name}.json"]
    try:
        shown = subprocess.run(command, cwd=root, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return _parsed(shown.stdout) if shown.returncode == 0 else None


def _candidate(root: Path, experiment: str, name: str, family: str) -> CandidateResults:
    search, models, timings = (root / room / experiment / name for room in ("search", "models", "timings"))
    made = {"tune": _json(search / "best.json"), "train": _json(models / "model.json")}
    measured = {stage: _json(timings / f"{stage}.json") for stage in made}
    return CandidateResults(
        name=name,
        family=family,
        best=made["tune"],
        model=made["train"],
        failed=_failed_trials(search / "trials.csv"),
        seconds={
            stage: float(timing["seconds"])
            for stage, timing in measured.items()
            if timing and "seconds" in timing and _belongs(timing, made[stage])
        },
        latency=_json(timings / "latency.json"),
        curves=tuple(sorted(models.glob("*.png"))),
        search_pictures=tuple(sorted(search.glob("*.png"))),
    )


def _belongs(timing: Json, made: Json | None) -> bool:
    """Whether a time is that of the search or training that is there, not of an earlier one."""
    return made is None or "key" not in timing or timing["key"] == made.get("key")


def _pictures(root: Path, experiment: str, model: str) -> tuple[Path, ...]:
    return tuple(sorted((root / "evaluation" / experiment / model).glob("*.png")))


def _notes(
    name: str,
    metrics: Json | None,
    card: Json | None,
    candidates: Mapping[str, CandidateResults],
    registry: Json | None,
) -> list[str]:
    """Lists what does not fit together: a reader must not take old figures for new ones."""
    if metrics is None:
        return [f"There are no results yet: metrics/{name}.json is missing. Run `make repro`."]
    notes = doubts(metrics, card, candidates)
    if card is None:
        notes.insert(0, "The prepared data are not on this machine; `dvc pull` brings their card back.")
    challenger = (registry or {}).get("challenger") or {}
    measured = metrics["models"].get(metrics["challenger"], {}).get("key")
    if challenger.get("key") and measured and challenger["key"] != measured:
        notes.append("The gate's decision is about an earlier challenger. Run `python -m pipeline register`.")
    return notes


def doubts(metrics: Json, card: Json | None, candidates: Mapping[str, CandidateResults]) -> list[str]:
    """Lists why the figures may not be those of the present data and models, as far as these are on this machine."""
    reasons = []
    if card is not None and card.get("data") != metrics.get("data"):
        reasons.append("The figures were measured on other data than those that are prepared now. Run `make repro`.")
    for candidate in candidates.values():
        entry = metrics["models"].get(candidate.name)
        if entry is None:
            reasons.append(f"`{candidate.name}` has not been evaluated yet. Run `make repro`.")
        elif candidate.model and entry.get("key") and entry["key"] != candidate.model.get("key"):
            reasons.append(f"The figures of `{candidate.name}` are those of an earlier model. Run `make repro`.")
    return reasons


def _failed_trials(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open(encoding="utf-8", newline="") as lines:
        return sum(row.get("state") == "FAIL" for row in csv.DictReader(lines))


def _json(path: Path) -> Json | None:
    return _parsed(path.read_bytes(), path) if path.exists() else None


def _parsed(content: bytes, path: Path | None = None) -> Json:
    try:
        document = json.loads(content)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path or 'a committed metrics file'} is not valid JSON ({error}); run `dvc repro`") from None
    assert isinstance(document, dict)
    return document
