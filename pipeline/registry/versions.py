"""What becomes of an experiment's challenger: a version, a decision, an alias; each once a content key."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.params import Gate
from pipeline.registry import record
from pipeline.registry.comparison import Comparison
from pipeline.registry.experiment import Outputs
from pipeline.registry.store import RESTORING, Store, Version
from pipeline.registry.trial import Trial, TrialFailed, rehearse
from pipeline.tracking.specification import KEY


@dataclass
class Standing:
    """How things stand after this run."""

    challenger: Version
    champion: Version | None
    decision: record.Entry | None
    history: list[record.Entry]
    sent: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)


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

    def settle(self) -> Standing:
        """Everything in order: lost versions, the challenger's version, the decision, the aliases.

        Raises TrialFailed where the challenger cannot answer its own example.
        """
        with tempfile.TemporaryDirectory() as scratch:
            self.work = Path(scratch)
            self._restore()
            key = self.outputs.description(self.outputs.challenger)["key"]
            challenger = self.store.versions.get(key) or self._add(self.outputs.challenger)
            self._note_moves()
            decision = self._decision(challenger, self.store.at("champion"))
            challenger = self.store.versions[key]
            if self.store.point("challenger", challenger):
                self.sent.append(f"alias challenger → version {challenger.number}")
        return Standing(challenger, self.store.at("champion"), decision, self.history, self.sent, self.pending)

    def _decision(self, challenger: Version, champion: Version | None) -> record.Entry | None:
        """The decision about these two, taken now if nobody took it before."""
        if champion is not None and champion.key == challenger.key:
            return record.last_promotion(self.history, champion.key) or record.told_by_tags(
                challenger.named(), challenger.tags
            )
        known = record.decided(self.history, challenger.key, champion.key if champion else None)
        known = known or record.told_by_tags(challenger.named(), challenger.tags, champion.key if champion else "")
        lost = record.champion_of(self.history)
        if known is None and champion is None and lost is not None and lost not in self.store.versions:
            self.pending.append(
                f"no decision about {challenger}: the champion of the record ({lost[:12]}) could not be restored; "
                f"bring back its files, or remove {record.FILE} to begin without a champion"
            )
            return None
        return known or self._decide(challenger, champion)

    def _decide(self, challenger: Version, champion: Version | None) -> record.Entry:
        against = None if champion is None else champion.named()
        try:
            found = self._comparison.decision(challenger, champion)
            line = record.entry(
                challenger.named(), against, promoted=found.promoted, reason=found.reason, evidence=found.evidence()
            )
        except TrialFailed as error:
            assert champion is not None
            reason = (
                f"{challenger.candidate} could not be compared with {champion}: {error}. The champion stays; "
                "to replace it, move the alias by hand in the MLflow UI."
            )
            line = record.entry(challenger.named(), against, promoted=False, reason=reason, evidence={})
        tagged = self.store.tag(challenger, record.decision_tags(line))
        self.store.describe(tagged, line["reason"])
        if line["promoted"]:
            self.store.point("champion", tagged)
            self.sent.append(f"alias champion → version {tagged.number}")
        self.history.append(line)
        return line

    @property
    def _comparison(self) -> Comparison:
        return Comparison(
            self.store, self.outputs, self._trial, self._code, self.work, self.gate, self.seed, self.history
        )

    @cached_property
    def _code(self) -> Path:
        """The modules that serve the challenger, copied as they will travel with it."""
        from pipeline.registry.packaging import copy_code

        ours = self.outputs.description(self.outputs.challenger)
        copy_code(ours["task"], ours["family"], self.work / "code")
        return self.work / "code"

    @property
    def _model(self) -> Path:
        return self.outputs.model(self.outputs.challenger)

    @cached_property
    def _trial(self) -> Trial:
        """The challenger answers its example; its scores and those of the baseline come from the evaluation."""
        names = {"challenger": self.outputs.challenger, "baseline": self.outputs.baseline}
        files = {role: self.outputs.predictions(name) for role, name in names.items() if name is not None}
        place = self.work / "trial"
        return rehearse(self._model, self._code, self.outputs.prepared, place, example=True, predictions=files,
                        probes=files["challenger"])  # fmt: skip

    def _add(self, candidate: str, **marks: str) -> Version:
        """A version of a candidate's present training."""
        from pipeline.registry.packaging import copy_code, package

        ours = self.outputs.description(candidate)
        if candidate == self.outputs.challenger:
            model, code, trial = self._model, self._code, self._trial
        else:
            model, code = self.outputs.model(candidate), self.work / f"code-{candidate}"
            copy_code(ours["task"], ours["family"], code)
            files = {"challenger": self.outputs.predictions(candidate)}
            place = self.work / f"trial-{candidate}"
            trial = rehearse(model, code, self.outputs.prepared, place, example=True, predictions=files,
                             probes=files["challenger"])  # fmt: skip
        folder = self.work / f"servable-{candidate}"
        tags = {**self._tags(ours), **marks}
        package(model, code, trial, trial.scores["challenger"], folder, self.work, tags)
        version = self.store.add(folder, tags, self.run_ids.get(ours["key"]))
        self.sent.append(str(version))
        return version

    def _tags(self, ours: Mapping[str, Any]) -> dict[str, str]:
        metrics = self.outputs.metrics
        value = metrics["models"][ours["candidate"]]["test"][metrics["score"]]["value"]
        return {
            KEY: ours["key"],
            "pipeline.candidate": ours["candidate"],
            "pipeline.family": ours["family"],
            "pipeline.architecture": str(ours["parameters"].get("architecture", "")),
            "pipeline.task": ours["task"],
            "pipeline.data": ours["data"],
            "pipeline.test_digest": metrics["test_digest"],
            "pipeline.score": metrics["score"],
            "pipeline.test_score": f"{value:.6g}",
        }

    def _note_moves(self) -> None:
        """Writes down where somebody else has moved the alias, so that a lost MLflow comes back as it was."""
        champion = self.store.at("champion")
        if champion is not None and record.champion_of(self.history) not in (None, champion.key):
            self.history.append(record.moved_by_hand(champion.named()))

    def _restore(self) -> None:
        """Makes versions anew that MLflow has lost with its database, in their order, and points the aliases back."""
        unfinished = [version for version in self.store.versions.values() if RESTORING in version.tags]
        if not self.history or (self.store.versions and not unfinished):
            return
        for line in self.history:
            for role in ("against", "challenger"):
                if line[role] and line[role]["key"] not in self.store.versions:
                    self._restore_version(line[role])
        for line in self.history:
            if line["challenger"] and line["challenger"]["key"] in self.store.versions:
                self.store.tag(self.store.versions[line["challenger"]["key"]], record.decision_tags(line))
        champion = self.store.versions.get(record.champion_of(self.history) or "")
        if champion is not None:
            self.store.point("champion", champion)
            self.sent.append(f"alias champion → version {champion.number}, as the record says")
        for version in list(self.store.versions.values()):
            if RESTORING in version.tags:
                self.store.untag(version, RESTORING)

    def _restore_version(self, known: Mapping[str, str]) -> None:
        candidate = self.outputs.candidate_with(known["key"])
        if candidate is not None and candidate in self.outputs.metrics["models"]:
            self._add(candidate, **{RESTORING: "true"})
            return
        folder = self.store.stray_folder(known["key"], self.work / f"stray-{known['key']}")
        if folder is None:
            self.pending.append(
                f"version {known['version']} ({known['candidate']}, key {known['key'][:12]}) is lost: "
                "neither models/ nor mlartifacts/ holds it any more"
            )
            return
        from ruamel.yaml import YAML

        noted = YAML(typ="safe").load((folder / "MLmodel").read_text(encoding="utf-8"))["metadata"]
        version = self.store.add(folder, {**noted, RESTORING: "true"}, self.run_ids.get(known["key"]))
        self.sent.append(f"{version}, from mlartifacts")
