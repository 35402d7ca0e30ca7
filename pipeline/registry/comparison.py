"""A challenger against the champion: both answer what users send, one scorer scores both, and the gate decides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.tables import EXAMPLES, REQUESTS
from pipeline.params import Gate
from pipeline.registry import spending
from pipeline.registry.experiment import Outputs
from pipeline.registry.limits import broken, measured
from pipeline.registry.record import Entry, told_by_tags
from pipeline.registry.store import Store, Version
from pipeline.serving.rehearse import NotComparable, Rehearsal, rehearse

if TYPE_CHECKING:  # the gate takes a second to import: it comes when there is something to decide
    import numpy as np

    from pipeline.evaluation.statistics import ModelScores
    from pipeline.registry.gate import Decision

UNORDERED = ("classes", "columns", "style_digests")
FEWEST = 2  # examples that a comparison needs to have any spread


@dataclass(frozen=True)
class Pair:
    """Challenger and champion on the test examples that neither has learned from."""

    challenger: ModelScores
    champion: ModelScores
    units: np.ndarray  # sorted digests of these examples
    count: int  # of these examples
    left_out: int


@dataclass(frozen=True)
class Comparison:
    """Decides about the present challenger. `work` is a scratch folder that outlives this object."""

    store: Store
    outputs: Outputs
    trial: Rehearsal  # of the challenger, with its scores and those of its rivals
    code: Path  # the modules that serve the challenger
    work: Path
    gate: Gate
    seed: int
    history: Sequence[Entry]

    def decision(self, challenger: Version, champion: Version | None) -> Decision:
        """Raises NotComparable where no comparison is fair, and TrialFailed where a model could not be asked.

        What a model costs is looked at first: the test split is not asked about one that may not be promoted anyway.
        The worst class is a figure of the test examples, so that its limit comes after they were asked.
        """
        from pipeline.registry.gate import Names, decide, kept_out

        names = Names(challenger.candidate, str(champion), self.outputs.baseline or "", self.outputs.metrics["score"])
        limits, figures = self.gate.limits, measured(self.outputs, self.outputs.challenger)
        if costs := broken(limits.model_copy(update={"worst_class": None}), figures):
            return kept_out(costs, names)
        pair = None if champion is None else self._pair(champion)
        asked = self._asked(challenger, champion, pair)
        scores = self._own_scores
        verdict = decide(
            scores[self.outputs.challenger],
            None if pair is None else pair.champion,
            paired_challenger_scores=None if pair is None else pair.challenger,
            paired_resamples=self.gate.resamples,
            baseline_scores=None if self.outputs.baseline is None else scores[self.outputs.baseline],
            guess_scores={name: scores[name] for name in self.outputs.guesses},
            confidence=self.gate.confidence,
            level=asked.level,
            names=names,
            **self._options,
        )
        if faults := broken(limits, figures):
            verdict = kept_out(faults, names, verdict)
        return self._with_outlook(verdict, pair, names, asked.decisions)

    def _with_outlook(self, verdict: Decision, pair: Pair | None, names: Any, decisions: int) -> Decision:
        """Returns what is left of the error level of these test examples, and whether it is enough for anything."""
        from pipeline.registry.examples import left_out_note, sketch
        from pipeline.registry.gate import could_pass

        level = spending.level_of(decisions, self.gate.confidence)
        stays = self._stays(verdict.promoted, pair)
        passable = stays is None or could_pass(stays, level=level, **self._options | {"resamples": self.gate.resamples})
        split = {
            "test_digest": self.outputs.metrics["test_digest"],
            "examples": None if pair is None else sketch(pair.units),
            "count": None if pair is None else pair.count,
            "left_out": None if pair is None else pair.left_out,
            "decisions": decisions,
            "error_level": 1 - self.gate.confidence,
            "left": spending.left(decisions, self.gate.confidence),
            "next_level": level,
            "passable": passable,
        }
        note = "" if pair is None else left_out_note(pair.left_out, pair.count + pair.left_out, names.champion)
        if not passable and stays is not None:
            note += self._exhausted(stays, level)
        return replace(verdict, reason=verdict.reason + note, test_split=split)

    def _exhausted(self, stays: ModelScores, level: float) -> str:
        from pipeline.registry.gate import needed_to_pass

        options = {name: self._options[name] for name in ("maximize", "dependent", "block", "margin")}
        needed = needed_to_pass(stays, level=level, **options)
        many = "" if needed is None else f"; it would take about {needed} that neither model has seen"
        return (
            " On these test examples no later model can be promoted, not even one without a fault: collect more and "
            f"fresh ones{many}."
        )

    def _stays(self, promoted: bool, pair: Pair | None) -> ModelScores | None:
        """The scores of who is champion after the decision."""
        if pair is None:
            return self._own_scores[self.outputs.challenger] if promoted else None
        return pair.challenger if promoted else pair.champion

    def _asked(self, challenger: Version, champion: Version | None, pair: Pair | None) -> spending.Asked:
        """Also versions tell of decisions by their tags: the record may be lost, or another machine may keep it."""
        from pipeline.registry.examples import read_examples

        by_tags = [told_by_tags(version.named(), version.tags) for version in self.store.versions.values()]
        lines = [*self.history, *(line for line in by_tags if line is not None)]
        if champion is None or pair is None:
            units = read_examples(self.outputs.prepared / EXAMPLES)["test"]
            return spending.Asked(spending.decided(lines, units), spending.level_of(0, self.gate.confidence))
        return spending.asked(lines, challenger.key, champion.key, pair.units, self.gate.confidence)

    @property
    def _resamples(self) -> int:
        """As many as evaluation drew: the same seed makes them the same, and both say the same of one comparison."""
        return int(self.outputs.metrics.get("resamples", self.gate.resamples))

    @property
    def _options(self) -> dict[str, Any]:
        """Returns what all comparisons of this experiment share."""
        return {
            "maximize": self.outputs.metrics["maximize"],
            "dependent": self.trial.dependent,
            "block": self.trial.block,
            "resamples": self._resamples,
            "margin": self.gate.margin,
            "seed": self.seed,
        }

    @cached_property
    def _own_scores(self) -> Mapping[str, ModelScores]:
        """Returns scores of the challenger and its rivals on all test examples, from their stored predictions."""
        if not self.trial.corpus:
            return dict(self.trial.scores)
        names = (self.outputs.challenger, *self.outputs.rivals)
        files = {name: self.outputs.predictions(name) for name in names}
        return self._corpus_scores("corpus", self._everything, self._resamples, predictions=files)

    @cached_property
    def _everything(self) -> np.ndarray:
        import numpy as np

        return np.ones(len(self.trial.scores[self.outputs.challenger]), dtype=bool)

    def _pair(self, champion: Version) -> Pair:
        """Both models answer the same requests, each by its own code; the present task scores both answers."""
        from pipeline.registry.examples import ARTIFACT, learned_from, read_examples, units_of, unseen

        folder = self.store.download(champion, "", self.work / "champion")
        self._check_comparable(folder / "artifacts/model.json")
        theirs, ours = read_examples(folder / ARTIFACT), read_examples(self.outputs.prepared / EXAMPLES)
        count = len(self._everything)
        seen = [learned_from(examples) for examples in (theirs, ours)]
        kept = self._everything
        for digests in seen:
            kept = kept & unseen(ours["test"], digests, count)
        fewest = max(FEWEST, self.trial.block or 0) if self.trial.dependent else FEWEST
        if kept.sum() < fewest:
            seen_by_one = f"{count - kept.sum()} of {count} test examples were learned from by one of the two, and "
            raise NotComparable(
                f"{seen_by_one}{kept.sum()} are left, of {fewest} that it takes; "
                "collect fresh ones, which neither has seen"
                if kept.sum() < count
                else f"{count} test examples are too few: it takes {fewest}"
            )
        responses = {"champion": self._answered("champion", folder / "artifacts", folder / "code")}
        responses["challenger"] = self._answered("challenger", self._model, self.code)
        scores = self._pair_scores(responses, kept)
        units, left_out = units_of(ours["test"], kept), count - int(kept.sum())
        return Pair(scores["challenger"], scores["champion"], units, int(kept.sum()), left_out)

    def _pair_scores(self, responses: Mapping[str, Path], kept: np.ndarray) -> Mapping[str, ModelScores]:
        import numpy as np

        if self.trial.corpus:
            return self._corpus_scores("pair", kept, self.gate.resamples, responses=responses)
        scores = self._scored("pair", responses=responses).scores
        known = {role: np.isfinite(values) for role, values in scores.items()}
        if (known["champion"] != known["challenger"])[kept].any() or known["challenger"][kept].sum() < FEWEST:
            raise NotComparable("some of the test examples have no score, or that of one model is no finite number")
        return {role: values[kept] for role, values in scores.items()}

    def _corpus_scores(
        self, place: str, kept: np.ndarray, resamples: int, **files: Mapping[str, Path]
    ) -> Mapping[str, ModelScores]:
        """All models are scored anew on the same resamples, which are drawn once and handed over as a file."""
        import numpy as np

        from pipeline.evaluation.intervals import corpus_score, weights_of

        count, dependent, block = int(kept.sum()), self.trial.dependent, self.trial.block
        parts = weights_of(count, block=block, resamples=resamples, seed=self.seed)
        drawn = np.concatenate([part.astype(np.uint16) for part in parts])
        weights = np.zeros((len(drawn), len(kept)), dtype=np.uint16)
        weights[:, kept] = drawn
        file = self.work / f"{place}-weights.npy"
        np.save(file, weights)
        resampled = self._scored(place, weights=file, **files).resampled
        return {
            role: corpus_score(values, count, dependent=dependent, block=block) for role, values in resampled.items()
        }

    @property
    def _model(self) -> Path:
        return self.outputs.model(self.outputs.challenger)

    def _answered(self, role: str, model: Path, code: Path) -> Path:
        """Returns what a model answers to the requests of the present test examples, by its own code."""
        requests = self.outputs.prepared / REQUESTS
        answered = rehearse(model, code, None, self.work / f"{role}-answers", requests=requests)
        assert answered.responses is not None
        return answered.responses

    def _scored(self, place: str, **what: Any) -> Rehearsal:
        """By the challenger's task and card, on the present tables."""
        return rehearse(self._model, self.code, self.outputs.prepared, self.work / f"{place}-scores", **what)

    def _check_comparable(self, description: Path) -> None:
        """Raises NotComparable where no score would be fair to both models."""
        if not description.is_file():
            raise NotComparable("it has another origin and no model.json")
        theirs, ours = json.loads(description.read_text("utf-8")), self.outputs.description(self.outputs.challenger)
        cards = [{**entry["card"], "task": entry["task"]} for entry in (theirs, ours)]
        different = [
            name for name in ("task", *self.trial.matching) if _entry(cards[0], name) != _entry(cards[1], name)
        ]
        if different:
            changes = "; ".join(
                f"{name} {_shown(cards[0], name)} and now {_shown(cards[1], name)}" for name in different
            )
            raise NotComparable(f"no score is fair to both: {changes}")


def _entry(card: Mapping[str, Any], name: str) -> Any:
    return sorted(map(str, card.get(name) or ())) if name in UNORDERED else card.get(name)


def _shown(card: Mapping[str, Any], name: str) -> str:
    value = card.get(name)
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
