"""A challenger against the champion: their scores on the same test examples, and what the gate says to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.params import Gate
from pipeline.registry.experiment import Outputs
from pipeline.registry.record import Entry
from pipeline.registry.store import Store, Version
from pipeline.registry.trial import Trial, TrialFailed, read_scores, rehearse

if TYPE_CHECKING:  # the gate takes a second to import: it comes when there is something to decide
    from pipeline.registry.gate import Decision
    from pipeline.registry.statistics import Scores

SAME = ("task", "classes", "columns", "channels", "height", "width", "lookback", "horizon", "step_seconds")


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
        """Raises TrialFailed where the champion cannot be scored on the present test examples."""
        from pipeline.registry.gate import Names, decide

        scores = self.trial.scores
        theirs = None if champion is None else self._scores_of(champion)
        if theirs is not None and len(theirs) != len(scores["challenger"]):
            raise TrialFailed(f"it answers {len(theirs)} test examples instead of {len(scores['challenger'])}")
        names = Names(challenger.candidate, str(champion), self.outputs.baseline or "", self.outputs.metrics["score"])
        return decide(
            scores["challenger"],
            theirs,
            maximize=self.outputs.metrics["maximize"],
            dependent=self.trial.dependent,
            block=self.trial.block,
            resamples=self.gate.resamples,
            confidence=self.gate.confidence,
            margin=self.gate.margin,
            seed=self.seed,
            baseline_scores=scores.get("baseline"),
            names=names,
        )

    def _scores_of(self, champion: Version) -> Scores:
        """The champion's scores on the present test examples: stored with it, or from its servable and its own code."""
        metrics = self.outputs.metrics
        wanted = {"pipeline.test_digest": metrics["test_digest"], "pipeline.score": metrics["score"]}
        if all(champion.tags.get(name) == value for name, value in wanted.items()):
            return read_scores(self.store.download(champion, "artifacts/scores.npy", self.work / "champion-scores"))
        folder = self.store.download(champion, "", self.work / "champion")
        self._check_comparable(folder / "artifacts/model.json")
        place = self.work / "champion-trial"
        trial = rehearse(folder / "artifacts", folder / "code", self.outputs.prepared, place, predict=True)
        assert trial.predictions is not None
        model = self.outputs.model(self.outputs.challenger)
        again = rehearse(model, self.code, self.outputs.prepared, self.work / "champion-scored",
                         predictions={"champion": trial.predictions})  # fmt: skip
        return again.scores["champion"]

    def _check_comparable(self, description: Path) -> None:
        if not description.is_file():
            raise TrialFailed("it has another origin and no model.json")
        theirs, ours = json.loads(description.read_text("utf-8")), self.outputs.description(self.outputs.challenger)
        cards = theirs["card"], ours["card"]
        different = [name for name in SAME if cards[0].get(name) != cards[1].get(name)]
        if different:
            raise TrialFailed(f"it was made for other data: {', '.join(different)} differ")
