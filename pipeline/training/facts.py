"""What a search or a training is made of: looked up once, written into its outputs, and hashed into its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.provenance import code_digest, sources
from pipeline.data.tables import read_card
from pipeline.params import Candidate, Experiment, Params, ParamsError, Training, nearest
from pipeline.tasks import load_task
from pipeline.tasks.task import Task
from pipeline.training.fit import Job, precision_of


@dataclass(frozen=True)
class Subject:
    """A candidate with everything that belongs to it."""

    name: str
    candidate: Candidate
    experiment: Experiment
    task: Task
    card: Mapping[str, Any]
    prepared: Path
    facts: dict[str, Any]
    checkpoint_steps: int

    def job(self, name: str, work: Path, parameters: Mapping[str, Any], **others: Any) -> Job:
        """A fit of this candidate; `others` are what differs between a trial and a final training."""
        return Job(
            name=name,
            work=str(work),
            prepared=str(self.prepared),
            task=self.experiment.task,
            settings=self.experiment.settings,
            family=self.candidate.family,
            parameters=parameters,
            batch_size=self.experiment.training.batch_size,
            threads=self.facts["threads"],
            checkpoint_steps=self.checkpoint_steps,
            weights_file=self.facts.get("weights"),
            **others,
        )


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
    card, task = read_card(prepared), load_task(experiment.task, experiment.settings)
    facts = {
        "experiment": candidate.experiment,
        "candidate": name,
        "task": experiment.task,
        "family": candidate.family,
        "data": card["data"],
        "code": code_digest(*sources(stage, candidate.task, candidate.family)),
        "seed": params.seed,
        "threads": params.threads,
        "precision": precision_of(params.trainer.model_dump(), task.bf16_pays),
    }
    if candidate.weights is not None:
        facts["weights"] = candidate.weights.model_dump()
    return Subject(name, candidate, experiment, task, card, prepared, facts, params.checkpoint_steps)
