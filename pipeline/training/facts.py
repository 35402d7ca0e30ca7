"""What a search or a training is made of: looked up once, written into its outputs, and hashed into its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.tables import read_card
from pipeline.files.code import code_digest, sources
from pipeline.params import Candidate, Experiment, Params, ParamsError, Trainer, Training, nearest
from pipeline.tasks import load_task
from pipeline.tasks.task import Task
from pipeline.training.fit import Job, precision_of


@dataclass(frozen=True)
class Subject:
    """A candidate with everything that belongs to it."""

    name: str
    candidate: Candidate
    experiment: Experiment
    settings: Mapping[str, Any]  # of the task, as far as the stage depends on them
    task: Task
    card: Mapping[str, Any]
    prepared: Path
    facts: dict[str, Any]
    checkpoint_steps: int

    def job(self, name: str, work: Path, parameters: Mapping[str, Any], **options: Any) -> Job:
        """A fit of this candidate; `others` are what differs between a trial and a final training."""
        return Job(
            name=name,
            work=str(work),
            prepared=str(self.prepared),
            task=self.experiment.task,
            settings=self.settings,
            family=self.candidate.family,
            parameters=parameters,
            batch_size=self.experiment.training.batch_size,
            threads=self.facts["threads"],
            checkpoint_steps=self.checkpoint_steps,
            weights_file=self.facts.get("weights"),
            **options,
        )


def on_one_device(trainer: Trainer) -> dict[str, Any]:
    """Arguments of Lightning's Trainer for a trial of a search, whatever the final trainings are spread over."""
    fixed = {"devices": 1, "num_nodes": 1, "strategy": "auto"}
    return {"accelerator": trainer.accelerator, "precision": trainer.precision, **fixed, **trainer.options}


def on_all_devices(trainer: Trainer) -> dict[str, Any]:
    """Arguments of Lightning's Trainer for the final trainings."""
    spread = {"devices": trainer.devices, "num_nodes": trainer.num_nodes, "strategy": trainer.strategy}
    return {**on_one_device(trainer), **spread}


def search_budget(training: Training) -> dict[str, Any]:
    """The part of an experiment's budget that a search depends on; dvc.yaml names the same keys."""
    pruning = None if training.pruning is None else training.pruning.model_dump()
    names = ("batch_size", "trials", "generation", "trial_epochs")
    return {**{name: getattr(training, name) for name in names}, "pruning": pruning}


def training_budget(training: Training) -> dict[str, Any]:
    """The part of an experiment's budget that the trainings of the best parameters depend on."""
    return {name: getattr(training, name) for name in ("batch_size", "epochs", "patience", "repeats")}


def subject_of(stage: str, name: str | None, params: Params) -> Subject:
    """Raises ParamsError for a candidate that params.yaml does not name."""
    if name is None or name not in params.candidates:
        raise ParamsError(f"candidate: found {name}; {nearest(str(name), params.candidates)}")
    candidate = params.candidates[name]
    experiment = params.experiments[candidate.experiment]
    prepared = Path("data/prepared", candidate.experiment)
    card = read_card(prepared)
    settings = card["settings"] if stage == "tune" else experiment.settings
    task = load_task(experiment.task, settings)
    facts = {
        "experiment": candidate.experiment,
        "candidate": name,
        "task": experiment.task,
        "family": candidate.family,
        "data": card["data"],
        "code": code_digest(*sources(stage, candidate.task, candidate.family)),
        "seed": params.seed,
        "threads": params.threads,
        "precision": precision_of(on_one_device(params.trainer), task.bf16_pays),
    }
    if candidate.weights is not None:
        facts["weights"] = candidate.weights.model_dump()
    return Subject(name, candidate, experiment, settings, task, card, prepared, facts, params.checkpoint_steps)
