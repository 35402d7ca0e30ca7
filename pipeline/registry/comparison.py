"""A challenger against the champion: their scores on the same test examples, and what the gate says to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.params import Gate
from pipeline.registry import spending
from pipeline.registry.experiment import Outputs
from pipeline.registry.limits import broken, measured
from pipeline.registry.record import Entry, told_by_tags
from pipeline.registry.store import Store, Version
from pipeline.registry.trial import Trial, TrialFailed, read_scores, rehearse

if TYPE_CHECKING:  # the gate takes a second to import: it comes when there is something to decide
    from pipeline.registry.gate import Decision
    from pipeline.registry.statistics import ModelScores, Scores

SAME = ("task", "classes", "columns", "channels", "height", "width", "lookback", "horizon", "step_seconds")
EXHAUSTED = (
    " On this test split no later model can be promoted, not even one without a fault: collect a fresh and larger one."
)


@dataclass(frozen=True)
class Comparison:
    """What a decision about the present challenger needs. `work` is a scratch folder that lives longer than this."""

    store: Store
    outputs: Outputs
    trial: Trial  # of the challenger, with its scores and those of the baseline
    code: Path  # the modules that serve the challenger
    work: Path
    gate: Gate
    seed: int
    history: Sequence[Entry]

    def decision(self, challenger: Version, champion: Version | None) -> Decision:
        """Raises TrialFailed where the champion cannot be scored on the present test examples.

        What a model costs is looked at first: the test split is not asked about one that may not be promoted anyway.
        The worst class is a figure of the test examples, so that its limit comes after they were asked.
        """
        from pipeline.registry.gate import Names, decide, kept_out

        names = Names(challenger.candidate, str(champion), self.outputs.baseline or "", self.outputs.metrics["score"])
        limits, figures = self.gate.limits, measured(self.outputs, self.outputs.challenger)
        if costs := broken(limits.model_copy(update={"worst_class": None}), figures):
            return kept_out(costs, names)
        scores, asked = self._scores(champion), self._asked(challenger, champion)
        found = decide(
            scores["challenger"],
            scores.get("champion"),
            baseline_scores=scores.get("baseline"),
            confidence=self.gate.confidence,
            level=asked.level,
            names=names,
            **self._options,
        )
        if faults := broken(limits, figures):
            found = kept_out(faults, names, found)
        return self._with_outlook(found, scores, asked.decisions)

    def _with_outlook(self, found: Decision, scores: dict[str, ModelScores], decisions: int) -> Decision:
        """What is left of the test split's error level, and whether it is enough for anything."""
        from pipeline.registry.gate import could_pass

        level = spending.level_of(decisions, self.gate.confidence)
        stays = scores["challenger"] if found.promoted else scores.get("champion")
        passable = stays is None or could_pass(stays, level=level, **self._options)
        split = {
            "test_digest": self.outputs.metrics["test_digest"],
            "decisions": decisions,
            "error_level": 1 - self.gate.confidence,
            "left": spending.left(decisions, self.gate.confidence),
            "next_level": level,
            "passable": passable,
        }
        return replace(found, reason=found.reason + ("" if passable else EXHAUSTED), test_split=split)

    def _asked(self, challenger: Version, champion: Version | None) -> spending.Asked:
        """Also versions tell of decisions by their tags: the record may be lost, or another machine may keep it."""
        told = [told_by_tags(version.named(), version.tags) for version in self.store.versions.values()]
        lines = [*self.history, *(line for line in told if line is not None)]
        digest, confidence = self.outputs.metrics["test_digest"], self.gate.confidence
        if champion is None:
            return spending.Asked(spending.decided(lines, digest), spending.level_of(0, confidence))
        return spending.asked(lines, challenger.key, champion.key, digest, confidence)

    @property
    def _resamples(self) -> int:
        """As many as evaluation drew: the same seed makes them the same, and both say the same of one comparison."""
        return int(self.outputs.metrics.get("resamples", self.gate.resamples))

    @property
    def _options(self) -> dict[str, Any]:
        """What all comparisons of this experiment share."""
        return {
            "maximize": self.outputs.metrics["maximize"],
            "dependent": self.trial.dependent,
            "block": self.trial.block,
            "resamples": self._resamples,
            "margin": self.gate.margin,
            "seed": self.seed,
        }

    def _scores(self, champion: Version | None) -> dict[str, ModelScores]:
        """Of challenger, baseline and champion, as far as they exist."""
        found = dict(self.trial.scores)
        if self.trial.corpus:
            return self._corpus_scores(None if champion is None else self._predictions_of(champion))
        if champion is not None:
            found["champion"] = self._scores_of(champion)
            if len(found["champion"]) != len(found["challenger"]):
                raise TrialFailed(
                    f"it answers {len(found['champion'])} test examples instead of {len(found['challenger'])}"
                )
        return dict(found)

    def _scores_of(self, champion: Version) -> Scores:
        """The champion's scores on the present test examples: stored with it, or from its servable and its own code."""
        metrics = self.outputs.metrics
        wanted = {"pipeline.test_digest": metrics["test_digest"], "pipeline.score": metrics["score"]}
        if all(champion.tags.get(name) == value for name, value in wanted.items()):
            return read_scores(self.store.download(champion, "artifacts/scores.npy", self.work / "champion-scores"))
        predictions = {"champion": self._predictions_of(champion)}
        return self._rehearsed("champion-scored", predictions=predictions).scores["champion"]

    def _corpus_scores(self, champion: Path | None) -> dict[str, ModelScores]:
        """All models are scored anew on the same resamples, which are drawn once and handed over as a file."""
        import numpy as np

        from pipeline.registry.intervals import corpus_score, weights_of

        names = {"challenger": self.outputs.challenger, "baseline": self.outputs.baseline}
        files = {role: self.outputs.predictions(name) for role, name in names.items() if name is not None}
        files |= {} if champion is None else {"champion": champion}
        count, dependent, block = len(self.trial.scores["challenger"]), self.trial.dependent, self.trial.block
        drawn = weights_of(count, block=block, resamples=self._resamples, seed=self.seed)
        np.save(self.work / "weights.npy", np.concatenate([weights.astype(np.uint16) for weights in drawn]))
        found = self._rehearsed("corpus", predictions=files, weights=self.work / "weights.npy").resampled
        return {role: corpus_score(values, count, dependent=dependent, block=block) for role, values in found.items()}

    def _predictions_of(self, champion: Version) -> Path:
        """Of the present test examples, by its servable and its own code."""
        folder = self.store.download(champion, "", self.work / "champion")
        self._check_comparable(folder / "artifacts/model.json")
        place = self.work / "champion-trial"
        trial = rehearse(folder / "artifacts", folder / "code", self.outputs.prepared, place, predict=True)
        assert trial.predictions is not None
        return trial.predictions

    def _rehearsed(self, place: str, **what: Any) -> Trial:
        """With the challenger's model and code."""
        model = self.outputs.model(self.outputs.challenger)
        return rehearse(model, self.code, self.outputs.prepared, self.work / place, **what)

    def _check_comparable(self, description: Path) -> None:
        if not description.is_file():
            raise TrialFailed("it has another origin and no model.json")
        theirs, ours = json.loads(description.read_text("utf-8")), self.outputs.description(self.outputs.challenger)
        cards = theirs["card"], ours["card"]
        different = [name for name in SAME if cards[0].get(name) != cards[1].get(name)]
        if different:
            raise TrialFailed(f"it was made for other data: {', '.join(different)} differ")
