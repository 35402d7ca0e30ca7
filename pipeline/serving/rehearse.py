"""Starts rehearsals: what a model answers, and which scores it gets, tried in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.serving.apart import run_script
from pipeline.serving.namespace import PACKAGE

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.evaluation.statistics import Scores


@dataclass(frozen=True)
class Rehearsal:
    """Holds what a rehearsal has found. `block`: examples to resample together; `modules`: what serving imports."""

    dependent: bool
    block: int | None
    modules: frozenset[str]
    scores: Mapping[str, Scores]
    example: pd.DataFrame | None
    answer: pd.DataFrame | None
    responses: Path | None  # of the model to the requests
    matching: tuple[str, ...] = ()  # entries of the cards that two models must share to be compared
    corpus: bool = False  # whether the score is of all examples together
    resampled: Mapping[str, Scores] = field(default_factory=dict)  # (R,) corpus scores of the draws of `weights`
    probes: Path | None = None  # requests with the answers that the stored predictions tell of


class RehearsalFailed(Exception):
    """A model could not be loaded, could not answer or could not be scored."""


class NotComparable(RehearsalFailed):
    """No score is fair to both models: a person has to decide. Another try would end in the same way."""


def rehearse(
    model: Path,
    code: Path,
    prepared: Path | None,
    output: Path,
    *,
    requests: Path | None = None,
    example: bool = False,
    predictions: Mapping[str, Path] | None = None,
    responses: Mapping[str, Path] | None = None,
    probes: Path | None = None,
    weights: Path | None = None,
) -> Rehearsal:
    """Tries the model of a folder with the package under `code`; see rehearsal.py for what can be asked.

    `prepared` is the data that the model was trained on; without it the model answers `requests` and nothing else.
    Raises TrialFailed with the last lines of what went wrong.
    """
    output.mkdir(parents=True)
    places = {"model": model, "prepared": prepared, "output": output, "requests": requests, "weights": weights,
              "probes": probes}  # fmt: skip
    job: dict[str, Any] = {name: "" if place is None else str(place.resolve()) for name, place in places.items()}
    for name, files in (("predictions", predictions), ("responses", responses)):
        job[name] = {role: str(file.resolve()) for role, file in (files or {}).items()}
    (output / "job.json").write_text(json.dumps({**job, "example": example}), encoding="utf-8")
    run_apart(output / "job.json", code)
    return _read(output)


def run_apart(job: Path, code: Path) -> None:
    """Runs rehearsal.py with the package under `code` in a fresh Python, which gets none of this one's secrets."""
    done = run_script("rehearsal.py", str(job.resolve()), package_of(code), PYTHONPATH=str(code.resolve()))
    if done.returncode != 0:
        raise RehearsalFailed("; ".join(done.stderr.strip().splitlines()[-2:]) or f"exit code {done.returncode}")


def package_of(code: Path) -> str:
    """The name of the one package in the folder `code` of a version. Raises TrialFailed where it is gone."""
    names = sorted(folder.name for folder in code.glob(f"{PACKAGE}*/"))
    if len(names) != 1:
        raise RehearsalFailed(f"found {', '.join(names) or 'no package'} in its folder `code`; one package is right")
    return names[0]


def _read(output: Path) -> Rehearsal:
    facts = json.loads((output / "facts.json").read_text(encoding="utf-8"))
    scores, resampled = (
        {file.stem: read_scores(file) for file in (output / part).glob("*.npy")} for part in ("scores", "corpus")
    )
    frames = {name: _frame(output / f"{name}.parquet") for name in ("example", "answer")}
    responses, probes = (
        file if file.is_file() else None for file in (output / "responses.parquet", output / "probes.json")
    )
    return Rehearsal(
        dependent=facts["dependent"],
        block=facts["block"],
        modules=frozenset(facts["modules"]),
        scores=scores,
        **frames,
        responses=responses,
        matching=tuple(facts["matching"]),
        corpus=facts["corpus"],
        resampled=resampled,
        probes=probes,
    )


def read_scores(file: Path) -> Scores:
    """(N,) scores of single examples."""
    import numpy as np

    return np.asarray(np.load(file, allow_pickle=False), dtype=np.float64)


def _frame(file: Path) -> pd.DataFrame | None:
    if not file.is_file():
        return None
    import pandas as pd

    return pd.read_parquet(file)
