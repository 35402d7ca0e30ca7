"""The study of a shared search in a database: all its trials from the start, who computes which, and their outcomes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from pipeline.search.search import Trial
from pipeline.search.storage import open_storage
from pipeline.tracking.address import Address
from pipeline.training.fit import Outcome

OWNER = "participant"  # the attribute of a trial that says who computes it
ROWS = 50  # of a history in one attribute: MySQL keeps 64 KB of text


class Study:
    """One study in the database, made with all its trials by whichever machine comes first.

    Raises ValueError where the database does not answer, or holds another study of this name.
    """

    def __init__(self, address: Address, name: str, trials: int) -> None:
        self.address, self.name = address, name
        self.storage = open_storage(address)
        try:
            self.identity = self.storage.get_study_id_from_name(name)
        except KeyError:
            self._create(trials)
            self.identity = self.storage.get_study_id_from_name(name)
        stored_trials = self.storage.get_all_trials(self.identity, deepcopy=False)
        if sorted(trial.number for trial in stored_trials) != list(range(trials)):
            raise self.damaged(f"it holds {len(stored_trials)} trials, and this search has {trials}")
        if any(OWNER not in trial.user_attrs for trial in stored_trials):
            raise self.damaged("some of its trials were made by another program")
        self.trials = {trial.number: trial for trial in stored_trials}

    def _create(self, trials: int) -> None:
        """The study and all of its trials in one transaction, so that nobody sees or leaves a part of it.

        Optuna's own interface makes them one after another: two machines would make some twice, and one that is
        killed would leave too few.
        """
        from optuna.storages._rdb import models
        from sqlalchemy.exc import IntegrityError
        from sqlalchemy.orm import Session

        direction = models.StudyDirectionModel(objective=0, direction=optuna.study.StudyDirection.MINIMIZE)
        study = models.StudyModel(study_name=self.name, directions=[direction])
        for number in range(trials):
            free = models.TrialUserAttributeModel(key=OWNER, value_json=json.dumps(None))
            study.trials.append(models.TrialModel(number=number, state=TrialState.WAITING, user_attributes=[free]))
        # Names of studies are unique: the second of two machines that come at once finds the study of the first.
        with suppress(IntegrityError), Session(self.storage.engine) as session, session.begin():
            session.add(study)

    def read(self, number: int) -> FrozenTrial:
        """The trial as it is now; a finished one stays as it is and is read once."""
        if not self.trials[number].state.is_finished():
            with self._present():
                self.trials[number] = self.storage.get_trial(self.trials[number]._trial_id)
        return self.trials[number]

    def swap_owner(self, number: int, seen: str | None, owner: str | None) -> bool:
        """Changes who computes a trial, unless it is not `seen` any more: of several that try it one succeeds."""
        import sqlalchemy
        from optuna.storages._rdb import models

        attribute = models.TrialUserAttributeModel
        change = (
            sqlalchemy.update(attribute)
            .where(attribute.trial_id == self.trials[number]._trial_id, attribute.key == OWNER)
            .where(attribute.value_json == json.dumps(seen))
            .values(value_json=json.dumps(owner))
        )
        with self.storage.engine.begin() as connection:
            return bool(connection.execute(change).rowcount == 1)

    def start(self, number: int, values: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> None:
        """Shows the trial as running, with its parameters. One that another participant has finished stays so."""
        identity = self.trials[number]._trial_id
        with self._present(), suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.storage.set_trial_state_values(identity, TrialState.RUNNING)
            for name, distribution in distributions.items():
                internal = distribution.to_internal_repr(values[name])
                self.storage.set_trial_param(identity, name, internal, distribution)

    def finish(self, trial: Trial) -> None:
        """Stores an outcome; the state comes last and makes it final. The first of several stands."""
        identity = self.trials[trial.number]._trial_id
        losses = [row["validation_loss"] for row in trial.outcome.history]
        with self._present(), suppress(optuna.exceptions.UpdateFinishedTrialError):
            for name, content in _attributes(trial.outcome).items():
                self.storage.set_trial_user_attr(identity, name, content)
            for epoch, loss in enumerate(losses):
                if math.isfinite(loss):
                    self.storage.set_trial_intermediate_value(identity, epoch, loss)
            values = None if trial.state == "FAIL" else [trial.value]
            self.storage.set_trial_state_values(identity, TrialState[trial.state], values)

    def outcome(self, number: int, proposed: Mapping[str, Any]) -> Outcome:
        """The outcome of a finished trial. Raises ValueError where it cannot be that of what was proposed."""
        trial = self.trials[number]
        try:
            outcome = _outcome_of(trial)
            expected = Trial(number, 0, dict(proposed), outcome)
            state, value = expected.state, expected.value
        except (KeyError, TypeError, ValueError) as error:
            raise self.damaged(f"trial {number} holds no outcome ({error!r})") from None
        if state != trial.state.name or (trial.value is not None and not _same(trial.value, value)):
            raise self.damaged(f"state or value of trial {number} is not that of its outcome")
        for name, stored in trial.params.items():
            if name not in proposed or not _same(stored, proposed[name]):
                raise self.damaged(
                    f"{name} of trial {number} is {stored}, and this search proposes {proposed.get(name)}"
                )
        return outcome

    def beat(self, participant: str, life: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Stores what a participant says about itself, and returns what all have said."""
        prefix = f"{OWNER} "
        with self._present():
            self.storage.set_study_user_attr(self.identity, prefix + participant, life)
            attributes = self.storage.get_study_user_attrs(self.identity)
        return {name.removeprefix(prefix): entry for name, entry in attributes.items() if name.startswith(prefix)}

    @contextmanager
    def _present(self) -> Iterator[None]:
        """Optuna says KeyError where study or trial is gone, and ValueError where parameters contradict each other."""
        try:
            yield
        except KeyError:
            raise self.damaged("it was removed from the database") from None
        except ValueError as error:
            raise self.damaged(str(error)) from None

    def damaged(self, what: str) -> ValueError:
        return ValueError(
            f"the study '{self.name}' at {self.address.shown} is not this search any more: {what}. Either somebody "
            "changed it, or a participant has other versions of its packages. Stop all participants, remove the study "
            "(optuna delete-study, or optuna-dashboard) and start again"
        )


def _attributes(outcome: Outcome) -> dict[str, Any]:
    """An outcome as attributes of a trial. Numbers survive JSON exactly."""
    starts = range(0, len(outcome.history), ROWS)
    pieces = {f"history {start:05d}": outcome.history[start : start + ROWS] for start in starts}
    return {"figures": outcome.figures, "best_epoch": outcome.best_epoch, "pruned": outcome.pruned, **pieces}


def _outcome_of(trial: FrozenTrial) -> Outcome:
    attributes = trial.user_attrs
    history = [row for name in sorted(attributes) if name.startswith("history ") for row in attributes[name]]
    return Outcome(attributes["figures"], attributes["best_epoch"], attributes["pruned"], history)


def _same(one: Any, other: Any) -> bool:
    """Equal, but for the last digits that a database can lose of a float."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    return bool(one == other)
