"""What becomes of an experiment's challenger: a version, a decision, an alias; each once a content key."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.params import Gate
from pipeline.registry import chain, ledger, limits, moves, record, restoring
from pipeline.registry.comparison import Comparison
from pipeline.registry.experiment import Outputs
from pipeline.registry.making import Publisher
from pipeline.registry.store import Store, Version
from pipeline.serving import preflight
from pipeline.serving.rehearse import NotComparable, RehearsalFailed

FAILED = "failed"  # of the evidence of a decision: why a model could not be asked, which may pass


@dataclass
class Standing:
    """Holds how things stand after this run. `notes`: what must be said aloud."""

    challenger: Version
    champion: Version | None
    decision: record.Entry | None
    history: list[record.Entry]
    sent: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Registrar:
    """Brings one registered model up to what the files say, and asks the gate where nothing was decided yet."""

    def __init__(
        self,
        store: Store,
        outputs: Outputs,
        history: list[record.Entry],
        run_ids: Mapping[str, str],
        gate: Gate,
        seed: int,
    ) -> None:
        self.store, self.outputs, self.history, self.run_ids = store, outputs, list(history), run_ids
        self.gate, self.seed = gate, seed
        self.sent: list[str] = []
        self.pending: list[str] = []
        self.notes: list[str] = []

    def settle(self) -> Standing:
        """Everything in order: the ledger, lost versions, the challenger's version, the decision, the aliases.

        Raises TrialFailed where the challenger cannot answer its own example.
        """
        with self._begun():
            challenger = self._challenger()
            self._notice()
            decision = self._decision(challenger)
            challenger = self._marked(self.store.versions[challenger.key], decision)
            self._point_challenger(challenger)
            self.store.hold()
            ledger.write(self.store, self.history)
            champion = self.store.at("champion")
        notes = [*dict.fromkeys([*self.notes, *moves.notes(self.history, champion)])]
        return Standing(challenger, champion, decision, self.history, self.sent, self.pending, notes)

    def add_challenger(self) -> Version:
        """A version of the challenger, about which the gate is not asked. Raises TrialFailed as `settle`."""
        with self._begun():
            return self._challenger()

    @contextmanager
    def _begun(self) -> Iterator[None]:
        """Yields what comes first: one history of file and MLflow, and the versions that MLflow has lost."""
        with tempfile.TemporaryDirectory() as scratch:
            self.work = Path(scratch)
            self.maker = Publisher(self.store, self.outputs, self.run_ids, self.work)
            self._join_ledger()
            if restoring.is_lost(self.store, self.history):
                self._restore()
            yield

    def _challenger(self) -> Version:
        return self.store.versions.get(self.outputs.description(self.outputs.challenger)["key"]) or self._added()

    def _join_ledger(self) -> None:
        """Joins what file and MLflow know, and makes the end of a move at which an earlier run was killed."""
        joined_ledger = ledger.joined(self.store, self.history)
        self.history = joined_ledger.history
        self.sent += joined_ledger.sent
        self.notes += joined_ledger.notes

    def _added(self) -> Version:
        version = self.maker.add(self.outputs.challenger)
        self.sent.append(str(version))
        return version

    def _restore(self) -> None:
        """Lost versions come back, and the champion's alias if its model still answers as it should."""
        sent, lost = restoring.restore(self.store, self.maker, self.history, self.work)
        self.sent += sent
        self.pending += lost
        champion = self.store.versions.get(record.champion_of(self.history) or "")
        if champion is not None:
            verdict = self._preflight(champion)
            if verdict == preflight.PASSED:
                self.store.point("champion", champion)
                self.sent.append(f"alias champion → version {champion.number}, as the record says")
            else:
                self.pending.append(f"alias champion → version {champion.number}: its pre-flight {verdict}")
        restoring.finish(self.store, self.history)

    def _notice(self) -> None:
        """Writes down what somebody else has done in MLflow, and warns. Nothing of it is undone."""
        restored = bool(self.pending)  # and not wholly: what is missing is said already
        lines = [] if restored else moves.noticed(self.store, self.history, self._tried)
        for line in lines:
            logging.getLogger(__name__).warning("warning: %s: %s", self.store.name, line["reason"])
            self.notes.append(line["reason"])
            self.history.append(chain.following(self.history, line))

    def _tried(self, version: Version) -> str:
        try:
            return self._preflight(version)
        except RehearsalFailed as error:
            return f"not possible: {error}"

    def _preflight(self, version: Version) -> str:
        """passed, or failed and why; tried once a version, of which a tag tells afterwards."""
        known = version.tags.get(preflight.TAG)
        if known is not None:
            return known
        folder = self.maker.folders.get(version.key) or self.store.download(
            version, "", self.work / f"inspected-{version.number}"
        )
        verdict = preflight.inspect(folder).verdict
        self.store.tag(version, {preflight.TAG: verdict})
        return verdict

    def _point_challenger(self, challenger: Version) -> None:
        if self.store.aliases.get("challenger") == challenger.number:
            return
        if self._preflight(challenger) == preflight.PASSED:
            self.store.point("challenger", self.store.versions[challenger.key])
            self.sent.append(f"alias challenger → version {challenger.number}")

    def _decision(self, challenger: Version) -> record.Entry | None:
        """The decision about challenger and champion, taken now if nobody took it before."""
        champion = self.store.at("champion")
        if champion is not None and champion.key == challenger.key:
            promotion = record.last_promotion(self.history, champion.key)
            return promotion or record.told_by_tags(challenger.named(), challenger.tags)
        aside = moves.set_aside(self.history, challenger.key)
        if aside is not None:
            self.notes.append(
                f"{challenger} was champion until somebody took it back; it comes back by "
                f"{self._promote(challenger)}, not by itself"
            )
            return aside
        last = record.champion_of(self.history)
        if champion is None and last is not None:
            champion = self._last_champion(last, challenger)
            if champion is None:
                return None
        against = champion.key if champion else None
        known = record.decided(self.history, challenger.key, against)
        known = known or record.told_by_tags(challenger.named(), challenger.tags, against or "")
        if known is None or limits.lifted(known, self.gate.limits, self.outputs) or _failed(known):
            return self._decide(challenger, champion, known)
        return known

    def _last_champion(self, key: str, challenger: Version) -> Version | None:
        """The version that was champion before MLflow lost it or its alias, as far as its files are still there."""
        command = f"python -m pipeline rollback {self.store.name}"
        if key == challenger.key:
            self.notes.append(
                f"no champion: {challenger} is the model that was champion until its version or alias was removed "
                f"outside of this pipeline; `{command} --to {challenger.number}` makes it champion again"
            )
            return None
        number = moves.number_of(self.history, key) or "?"
        version = self.store.versions.get(key) or self.store.stray_version(key, number, self.work / "last-champion")
        if version is None:
            self.pending.append(
                f"no decision about {challenger}: the champion of the record ({key[:12]}) could not be restored; "
                f"bring back its files, or `{command}` makes an earlier version champion, "
                f"{self._promote(challenger)} this one"
            )
        return version

    def _decide(self, challenger: Version, champion: Version | None, known: record.Entry | None) -> record.Entry:
        judged = self._judged(challenger, champion)
        if known is not None and _failed(known) and judged["reason"] == known["reason"]:
            return known  # it failed once more, in the same way
        line = chain.following(self.history, judged)
        challenger = self.store.versions[challenger.key]
        self.store.describe(challenger, line["reason"])
        self.history.append(line)
        if line["promoted"]:
            ledger.move_champion(self.store, challenger, line)
            self.sent.append(f"alias champion → version {challenger.number}")
        else:
            self.store.hold()
            ledger.write(self.store, [line])
        return line

    def _marked(self, challenger: Version, line: record.Entry | None) -> Version:
        """The version with its decision as tags, also where an earlier run was killed before it set them."""
        about = line["challenger"] if line else None
        if line is None or about is None or about["key"] != challenger.key:
            return challenger
        return self.store.tag(challenger, record.decision_tags(line))

    def _judged(self, challenger: Version, champion: Version | None) -> record.Entry:
        """First whether the challenger can be served at all, then what the gate says."""
        against = None if champion is None else champion.named()
        verdict = self._preflight(challenger)
        if verdict != preflight.PASSED:
            reason = f"{challenger} is kept out: its pre-flight {verdict}"
            return record.entry(challenger.named(), against, promoted=False, reason=reason, evidence={})
        try:
            decision = self._comparison.decision(challenger, champion)
        except (RehearsalFailed, ValueError) as error:
            if champion is None:
                raise
            evidence = {} if isinstance(error, NotComparable) else {FAILED: str(error)}
            reason = (
                f"{challenger.candidate} could not be compared with {champion}: {error}. The champion stays; "
                f"{self._promote(challenger)} makes {challenger} champion all the same."
            )
            return record.entry(challenger.named(), against, promoted=False, reason=reason, evidence=evidence)
        return record.entry(
            challenger.named(),
            against,
            promoted=decision.promoted,
            reason=decision.reason,
            evidence=decision.evidence(),
        )

    def _promote(self, version: Version) -> str:
        """The command by which a person makes a version champion."""
        return f'`python -m pipeline promote {self.store.name} --to {version.number} --because "…"`'

    @property
    def _comparison(self) -> Comparison:
        trial, code = self.maker.trial, self.maker.code
        return Comparison(self.store, self.outputs, trial, code, self.work, self.gate, self.seed, self.history)


def _failed(line: record.Entry) -> bool:
    """Whether a model could not be asked when a decision was taken: the next run asks again."""
    return FAILED in (line.get("evidence") or {})
