"""Trains a candidate with its best parameters, several times with different seeds, and keeps the best repeat."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from pathlib import Path

from pipeline.data.threads import use_threads
from pipeline.files.atomic import read_json, replaced_folder
from pipeline.files.digests import content_key
from pipeline.params import Params
from pipeline.tracking.address import address_of
from pipeline.tracking.live import live_run
from pipeline.training.facts import on_all_devices, subject_of, training_budget
from pipeline.training.launch import is_first_process, is_launched, launch
from pipeline.training.model_files import write_model
from pipeline.training.pool import open_pool
from pipeline.training.preflight import check_before
from pipeline.training.timings import write_timing


def main(name: str | None, params: Params) -> None:
    """Writes models/<experiment>/<name>: weights, architecture, history and learning curves."""
    started = time.monotonic()
    subject = subject_of("train", name, params)
    use_threads(params.threads)
    if params.launcher and not is_launched():
        return launch(params.launcher, "train", subject.name)
    candidate, budget = subject.candidate, subject.experiment.training
    best = read_json(Path("search", candidate.experiment, subject.name, "best.json"))
    facts = subject.facts | {"settings": subject.settings, "parameters": best["parameters"]}
    described = facts | {"training": training_budget(budget)}
    trainer = on_all_devices(params.trainer)
    key = content_key(stage="train", facts=facts, budget=training_budget(budget), trainer=trainer)
    work, target = Path(".work", key), Path("models", candidate.experiment, subject.name)
    tracking, kept = address_of(params.tracking).uri, budget.repeats + 1
    check_before(subject, work=work, target=target, workers=params.workers, address=tracking, kept=kept)
    work.mkdir(parents=True, exist_ok=True)
    jobs = [
        subject.job(
            f"repeat-{repeat}",
            work,
            best["parameters"],
            seed=params.seed + repeat,
            epochs=budget.epochs,
            patience=budget.patience,
            trainer=trainer,
            limits={},
        )
        for repeat in range(budget.repeats)
    ]
    watched = nullcontext() if not is_first_process() else live_run(
        params.tracking, experiment=candidate.experiment, kind="train", candidate=subject.name, key=key, work=work,
        parameters=described, description=f"Training of {name} with its best parameters",
    )  # fmt: skip
    workers = 0 if params.trainer.distributed else min(params.workers, budget.repeats)
    epochs = budget.repeats * budget.epochs
    with watched, open_pool(workers, f"train {name}", epochs) as pool:
        outcomes = pool.run(jobs)
    if not is_first_process():
        return
    with replaced_folder(target) as folder:
        validation = write_model(folder, {"key": key} | described, subject.card, jobs, outcomes, subject.task.progress)
    write_timing(candidate.experiment, subject.name, "train", started, key)
    shutil.rmtree(work, ignore_errors=True)
    score = subject.task.progress
    print(f"train: {len(jobs)} repeats, best validation {score} {validation[score]:.4g} → {target}")
