"""The gate: does the evidence hold that a challenger shall take the champion's place?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from pipeline.evaluation.statistics import CorpusScore, Difference, ModelScores, needed_examples, paired_difference
from pipeline.registry import sentences
from pipeline.registry.sentences import Names as Names  # callers name what the gate compares


@dataclass(frozen=True)
class Decision:
    """Holds what the gate says and why. Advantages are positive where the challenger is better, whatever the score."""

    promoted: bool
    reason: str
    over_champion: Difference | None  # None: there is no champion yet, or a limit kept the challenger out before
    over_baseline: Difference | None
    level: float | None = None  # chance of promoting an equal model that was allowed, where there is a champion
    broken_limits: tuple[str, ...] = ()
    test_split: Mapping[str, Any] | None = None  # what this decision has left of the test split's error level
    over_guess: Mapping[str, Difference] = field(default_factory=dict)  # over every model that only guesses

    def evidence(self) -> dict[str, Any]:
        """The comparisons as plain JSON."""
        compared = {
            name: None if difference is None else asdict(difference)
            for name, difference in (("over_champion", self.over_champion), ("over_baseline", self.over_baseline))
        }
        split = None if self.test_split is None else dict(self.test_split)
        guesses = {name: asdict(difference) for name, difference in self.over_guess.items()}
        rest = {"level": self.level, "broken_limits": list(self.broken_limits), "test_split": split}
        return {**compared, "over_guess": guesses, **rest}


def decide(
    challenger_scores: ModelScores,
    champion_scores: ModelScores | None,
    *,
    maximize: bool,
    dependent: bool,
    resamples: int,
    confidence: float,
    margin: float,
    seed: int,
    baseline_scores: ModelScores | None,
    guess_scores: Mapping[str, ModelScores] | None = None,
    block: int | None = None,
    names: Names | None = None,
    level: float | None = None,
    paired_challenger_scores: ModelScores | None = None,
    paired_resamples: int | None = None,
) -> Decision:
    """Compares scores of the same examples, in the same order; None is for a model that does not exist.

    A challenger is never promoted that is not significantly better than every model of `guess_scores`, which only
    guess, or that is significantly worse than the baseline. Without a champion everything else is. With one, the lower
    end of the interval of the advantage must lie above `margin`, at the error `level` of this very decision: the
    largest chance that a model which is no better is promoted (see spending.py; None: that of a test split asked once),
    of one side, as only a promotion has consequences. The other arguments are those of `paired_difference`. The
    champion may be compared on fewer examples, those that it has not learned from: `paired_challenger_scores` are the
    challenger's on these, of which `paired_resamples` were drawn.
    """
    names = names or Names()
    level = (1 - confidence) / 2 if level is None else level
    own = challenger_scores
    paired = own if paired_challenger_scores is None else paired_challenger_scores
    over = partial(_advantage, maximize=maximize, dependent=dependent, block=block, seed=seed)
    first: dict[str, Any] = {"confidence": confidence, "resamples": resamples}
    last: dict[str, Any] = {"confidence": 1 - 2 * level, "resamples": paired_resamples or resamples}
    over_baseline = None if baseline_scores is None else over(own, baseline_scores, **first)
    over_champion = None if champion_scores is None else over(paired, champion_scores, **last)
    over_guess = {name: over(own, scores, **first) for name, scores in (guess_scores or {}).items()}
    used = None if over_champion is None else level
    decided = partial(
        Decision, over_champion=over_champion, over_baseline=over_baseline, level=used, over_guess=over_guess
    )
    if weakest := _weakest(over_guess):
        needed = _needed(challenger_scores, (guess_scores or {})[weakest], maximize, confidence, dependent, block)
        return decided(False, sentences.no_better_than_guess(over_guess[weakest], weakest, names, needed))
    if over_baseline is not None and over_baseline.worse:
        return decided(False, sentences.worse_than_baseline(over_baseline, names))
    promoted = over_champion is None or over_champion.low > margin
    reason = sentences.against_champion(over_champion, promoted, margin, level, names)
    return decided(promoted, reason + sentences.about_baseline(over_baseline, names))


def kept_out(broken_limits: Sequence[str], names: Names, decision: Decision | None = None) -> Decision:
    """The decision about a challenger that breaks limits. `found` is the one without them, where it was taken."""
    reason = f"{names.challenger} is not promoted, whatever its {names.score}: {'; '.join(broken_limits)}."
    if decision is None:
        return Decision(False, reason, None, None, broken_limits=tuple(broken_limits))
    reason = f"{reason} Without that limit: {decision.reason}"
    return replace(decision, promoted=False, reason=reason, broken_limits=tuple(broken_limits))


def could_pass(champion_scores: ModelScores, *, maximize: bool, level: float, margin: float, **drawing: Any) -> bool:
    """Whether a model without a fault would be promoted over this champion at a level: if not, no model would.

    Where nobody knows the best score the answer is yes. `drawing`: dependent, block, resamples and seed as in `decide`.
    """
    faultless = _faultless(champion_scores, maximize)
    if faultless is None:
        return True
    decision = decide(
        faultless, champion_scores, maximize=maximize, level=level, confidence=1 - 2 * level, margin=margin,
        baseline_scores=None, **drawing,
    )  # fmt: skip
    return decision.promoted


def needed_to_pass(
    champion_scores: ModelScores, *, maximize: bool, level: float, margin: float, dependent: bool, block: int | None
) -> int | None:
    """About how many examples like these show a model without a fault to be better, where these are too few for that.

    None where nobody knows, or no number of them would; also where the estimate is no more than those that were too
    few already: it takes the spread for known, which a few independent units do not tell.
    """
    faultless = _faultless(champion_scores, maximize)
    if faultless is None:
        return None
    a, b = (faultless, champion_scores) if maximize else (champion_scores, faultless)
    values = [
        score.value if isinstance(score, CorpusScore) else float(np.nanmean(np.asarray(score, dtype=np.float64)))
        for score in (a, b)
    ]
    effect = values[0] - values[1] - margin
    needed = needed_examples(a, b, level=level, effect=effect, dependent=dependent, block=block)
    present = champion_scores.units if isinstance(champion_scores, CorpusScore) else len(np.asarray(champion_scores))
    return needed if needed is not None and needed > present else None


def _faultless(scores: ModelScores, maximize: bool) -> ModelScores | None:
    """The best scores on the same examples: 1 where all are 0 or 1, no error where none is negative."""
    if isinstance(scores, CorpusScore):
        if maximize or min(scores.value, scores.resampled.min()) < 0:
            return None
        return replace(scores, value=0.0, resampled=np.zeros_like(scores.resampled))
    values = np.asarray(scores, dtype=np.float64)
    known = values[~np.isnan(values)]
    if not (np.isin(known, (0.0, 1.0)).all() if maximize else (known >= 0).all()):
        return None
    return np.where(np.isnan(values), np.nan, float(maximize))


def _weakest(over_guess: Mapping[str, Difference]) -> str | None:
    """The guess that the challenger is least sure to beat, where it does not beat them all."""
    unbeaten = [name for name, difference in over_guess.items() if not difference.better]
    return min(unbeaten, key=lambda name: over_guess[name].low, default=None)


def _advantage(challenger: ModelScores, other: ModelScores, *, maximize: bool, **drawing: Any) -> Difference:
    """Positive where the challenger is better."""
    a, b = (challenger, other) if maximize else (other, challenger)
    return paired_difference(a, b, **drawing)


def _needed(
    challenger: ModelScores, guess: ModelScores, maximize: bool, confidence: float, dependent: bool, block: int | None
) -> int | None:
    a, b = (challenger, guess) if maximize else (guess, challenger)
    return needed_examples(a, b, level=(1 - confidence) / 2, dependent=dependent, block=block)
