"""The search for parameters: Optuna in generations, whose result no number of workers and no restart can change.

What a generation proposes, and where its trials are pruned, depends on the completed generations and on the numbers of
its trials alone; within it a trial knows what those before it will try, so that they differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.params import Choices, Pruning, Range, Scalar
from pipeline.training.fit import Outcome

Space = Mapping[str, Choices | Range | Scalar]
Proposal = tuple[int, dict[str, Any], dict[int, float]]  # number, parameters, limits
Run = Callable[[list[Proposal]], Sequence[Outcome]]


@dataclass(frozen=True)
class Trial:
    """A completed or pruned trial; `curve` holds the lowest validation loss up to each epoch."""

    number: int
    generation: int
    parameters: dict[str, Any]  # fixed ones included
    outcome: Outcome

    @property
    def value(self) -> float:
        return self.outcome.figures["validation_loss"]

    @property
    def state(self) -> str:
        """COMPLETE, PRUNED, or FAIL where the loss was never a number."""
        if not math.isfinite(self.value):
            return "FAIL"
        return "PRUNED" if self.outcome.pruned else "COMPLETE"

    @property
    def curve(self) -> list[float]:
        losses = [row["validation_loss"] for row in self.outcome.history]
        return [float(value) for value in np.fmin.accumulate(losses)]


def search(space: Space, trials: int, generation: int, pruning: Pruning | None, seed: int, run: Run) -> list[Trial]:
    """All trials of a search, in the order of their numbers.

    `run` gets the proposals of a generation and answers with their outcomes in order, whoever computed them; limits are
    the highest validation losses with which a trial may go on, by epoch.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    done: list[Trial] = []
    while len(done) < trials:
        numbers = range(len(done), min(len(done) + generation, trials))
        limits = pruning_limits(done, pruning)
        proposals = [(number, values, limits) for number, values in propose(space, done, numbers, seed)]
        outcomes = run(proposals)
        index = len(done) // generation
        done += [
            Trial(number, index, values, outcome)
            for (number, values, _), outcome in zip(proposals, outcomes, strict=True)
        ]
    return done


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The completed trial with the lowest validation loss; the first of equals. Raises ValueError without any."""
    complete = [trial for trial in trials if trial.state == "COMPLETE"]
    if not complete:
        raise ValueError(
            f"none of {len(trials)} trials came to a finite validation loss; search lower learning rates, "
            "or set gradient_clip to 1.0"
        )
    return min(complete, key=lambda trial: (trial.value, trial.number))


def propose(space: Space, done: Sequence[Trial], numbers: Sequence[int], seed: int) -> list[tuple[int, dict[str, Any]]]:
    """The parameters of the next trials. A sampler of its own for each: a seeded one repeats itself after a restart."""
    distributions = searched(space)
    fixed = {name: entry for name, entry in space.items() if not isinstance(entry, Choices | Range)}
    study = optuna.create_study(direction="minimize")
    study.add_trials([_frozen(trial, distributions) for trial in done])
    proposals = []
    for number in numbers:
        study.sampler = optuna.samplers.TPESampler(seed=seed * 100_003 + number, n_startup_trials=5)
        trial = study.ask(distributions) if distributions else None
        values = {**fixed, **(trial.params if trial else {})}
        proposals.append((number, {name: values[name] for name in space}))
    return proposals


def searched(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's distributions of the parameters that are not fixed."""
    distributions: dict[str, BaseDistribution] = {}
    for name, entry in space.items():
        if isinstance(entry, Choices):
            distributions[name] = CategoricalDistribution(entry.choices)
        elif isinstance(entry, Range):
            whole = isinstance(entry.low, int) and isinstance(entry.high, int)
            kind = IntDistribution if whole else FloatDistribution
            distributions[name] = kind(entry.low, entry.high, log=bool(entry.log))  # type: ignore[arg-type]
    return distributions


def pruning_limits(done: Sequence[Trial], pruning: Pruning | None) -> dict[int, float]:
    """For every epoch past the first few, the quantile of what completed trials had reached by then."""
    complete = [trial.curve for trial in done if trial.state == "COMPLETE"]
    if not pruning or not complete:
        return {}
    longest = max(len(curve) for curve in complete)
    padded = [curve + [curve[-1]] * (longest - len(curve)) for curve in complete]
    levels = np.quantile(np.array(padded), pruning.quantile, axis=0)
    return {epoch: float(level) for epoch, level in enumerate(levels) if epoch + 1 >= pruning.after_epochs}


def importances(space: Space, trials: Sequence[Trial], seed: int) -> dict[str, float]:
    """Returns how much of the losses' spread each searched parameter explains, largest first (fANOVA, Hutter 2014)."""
    distributions = searched(space)
    if len(distributions) < 2 or len([trial for trial in trials if trial.state == "COMPLETE"]) < 3:
        return dict.fromkeys(distributions, 1.0 if len(distributions) == 1 else math.nan)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    importance = optuna.importance.get_param_importances(study_of(space, trials), evaluator=evaluator)
    return {name: float(value) for name, value in importance.items()}


def study_of(space: Space, trials: Sequence[Trial]) -> optuna.Study:
    """The trials as a study in memory, for Optuna's own analyses."""
    study = optuna.create_study(direction="minimize")
    study.add_trials([_frozen(trial, searched(space)) for trial in trials])
    return study


def _frozen(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    return create_trial(
        state=TrialState[trial.state],
        value=trial.value if trial.state == "COMPLETE" else None,
        params={name: trial.parameters[name] for name in distributions},
        distributions=dict(distributions),
        intermediate_values={epoch: loss for epoch, loss in enumerate(trial.curve) if math.isfinite(loss)},
    )
