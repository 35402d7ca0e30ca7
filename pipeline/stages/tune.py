"""Searches the parameters of a candidate on train and validation."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.data.threads import use_threads
from pipeline.files.atomic import replaced_folder, write_json
from pipeline.files.digests import content_key
from pipeline.params import Params, Range
from pipeline.search.search import Proposal, Space, Trial, best_trial, importances, search, searched
from pipeline.search.storage import address_of as storage_of
from pipeline.search.study import Study
from pipeline.search.worker import taking_part
from pipeline.tracking.address import address_of
from pipeline.tracking.live import live_run
from pipeline.training import pictures
from pipeline.training.facts import on_one_device, search_budget, subject_of
from pipeline.training.fit import Job, Outcome
from pipeline.training.pool import open_pool
from pipeline.training.preflight import check_before
from pipeline.training.timings import write_timing


def main(name: str | None, params: Params) -> None:
    """Writes search/<experiment>/<name>: the best parameters, all trials, their curves and pictures."""
    started = time.monotonic()
    subject = subject_of("tune", name, params)
    use_threads(params.threads)
    candidate, budget = subject.candidate, subject.experiment.training
    described = subject.facts | {"training": search_budget(budget)}
    trainer = on_one_device(params.trainer)
    key = content_key(
        stage="tune", facts=subject.facts, space=candidate.model_dump(), budget=search_budget(budget),
        settings=subject.settings, trainer=trainer,
    )  # fmt: skip
    shared_in = storage_of(params.study)
    study = Study(shared_in, f"{subject.name} {key[:16]}", budget.trials) if shared_in else None
    work, target = Path(".work", key), Path("search", candidate.experiment, subject.name)
    tracking = address_of(params.tracking).uri
    check_before(subject, work=work, target=target, workers=params.workers, address=tracking, kept=budget.trials)
    work.mkdir(parents=True, exist_ok=True)

    def job(proposal: Proposal) -> Job:
        number, parameters, limits = proposal
        write_json(work / f"{_piece(number)}.params.json", parameters)
        return subject.job(
            _piece(number), work, parameters,
            seed=params.seed, epochs=budget.trial_epochs, patience=None, trainer=trainer, limits=limits,
        )  # fmt: skip

    def compute(
        proposals: Iterable[Proposal], on_done: Callable[[int, Outcome], None] = lambda *_: None
    ) -> list[Outcome]:
        return pool.run(map(job, proposals), lambda done, outcome: on_done(_number(done.name), outcome))

    watched = live_run(
        params.tracking, experiment=candidate.experiment, kind="tune", candidate=subject.name, key=key, work=work,
        parameters=described, description=f"Search for the parameters of {name}",
    )  # fmt: skip
    epochs = budget.trials * budget.trial_epochs
    shared = taking_part(study, searched(candidate.parameters), work, compute) if study else nullcontext(compute)
    with shared as run, open_pool(params.workers, f"tune {name}", epochs) as pool, watched:
        trials = search(candidate.parameters, budget.trials, budget.generation, budget.pruning, params.seed, run)
    with replaced_folder(target) as folder:
        best = _write(folder, candidate.parameters, trials, subject.task.progress, {"key": key} | described)
    write_timing(candidate.experiment, subject.name, "tune", started, key)
    shutil.rmtree(work, ignore_errors=True)
    print(f"tune: {len(trials)} trials ({best['pruned']} pruned), best validation loss {best['loss']:.4g} → {target}")


def _piece(number: int) -> str:
    """The name of a trial's files."""
    return f"trial-{number:03d}"


def _number(piece: str) -> int:
    return int(piece.rpartition("-")[2])


def _write(folder: Path, space: Space, trials: Sequence[Trial], score: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Fills the folder and returns what best.json says."""
    best, explained = best_trial(trials), importances(space, trials, facts["seed"])
    table = pd.DataFrame([_row(trial) for trial in trials])
    pictures.write_table(table, folder / "trials.csv")
    curves = [{"trial": trial.number, **row} for trial in trials for row in trial.outcome.history]
    pictures.write_table(pd.DataFrame(curves), folder / "curves.csv")
    pictures.write_table(
        pd.DataFrame(explained.items(), columns=["parameter", "importance"]), folder / "importances.csv"
    )
    title = str(facts["candidate"])
    drawn = table[table["state"] != "FAIL"]
    logarithmic = {name: isinstance(entry, Range) and bool(entry.log) for name, entry in space.items()}
    pictures.search_history(drawn, folder / "history.png", title)
    pictures.parallel_coordinates(
        drawn, {name: logarithmic[name] for name in searched(space)}, folder / "parallel.png", title
    )
    pictures.importance_bars(explained, folder / "importances.png", title)
    described = {
        **facts,
        "trial": best.number,
        "loss": best.value,
        "score": {"name": score, "value": best.outcome.figures[f"validation_{score}"]},
        "parameters": best.parameters,
        "trials": len(trials),
        "pruned": sum(trial.state == "PRUNED" for trial in trials),
    }
    write_json(folder / "best.json", described)
    return described


def _row(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state,
        "value": trial.value,
        "epochs": len(trial.outcome.history),
        "generation": trial.generation,
        **trial.parameters,
    }
