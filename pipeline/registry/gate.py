"""The gate: does the evidence hold that a challenger shall take the champion's place?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.registry.statistics import CorpusScore, Difference, ModelScores, paired_difference


@dataclass(frozen=True)
class Decision:
    """What the gate says and why. Advantages are positive where the challenger is better, whatever the score."""

    promoted: bool
    reason: str
    over_champion: Difference | None  # None: there is no champion yet, or a limit kept the challenger out before
    over_baseline: Difference | None
    level: float | None = None  # chance of promoting an equal model that was allowed, where there is a champion
    broken_limits: tuple[str, ...] = ()
    test_split: Mapping[str, Any] | None = None  # what this decision has left of the test split's error level

    def evidence(self) -> dict[str, Any]:
        """The comparisons as plain JSON."""
        compared = {
            name: None if found is None else asdict(found)
            for name, found in (("over_champion", self.over_champion), ("over_baseline", self.over_baseline))
        }
        split = None if self.test_split is None else dict(self.test_split)
        return {**compared, "level": self.level, "broken_limits": list(self.broken_limits), "test_split": split}


@dataclass(frozen=True)
class Names:
    """How the models and the score are called in the reason."""

    challenger: str = "the challenger"
    champion: str = "the champion"
    baseline: str = "the baseline"
    score: str = "score"


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
    block: int | None = None,
    names: Names | None = None,
    level: float | None = None,
    paired_challenger_scores: ModelScores | None = None,
    guess_scores: Mapping[str, ModelScores] | None = None,
) -> Decision:
    """Compares scores of the same examples, in the same order; None stands for a model that does not exist.

    A challenger that is significantly worse than the baseline is never promoted. Without a champion everything else
    is. With one, the lower end of the interval of the advantage must lie above `margin`, and the advantage must be
    significant, both at the error `level` of this very decision: the largest chance that a model which is no better
    is promoted (see spending.py; None: the one of a test split that is asked once). It is the error of one side, as
    only a promotion has consequences: interval and test have two sides, and so twice of it.
    `dependent` and `block` as in `paired_difference`; corpus scores know theirs.
    """
    names = names or Names()
    level = (1 - confidence) / 2 if level is None else level

    own = challenger_scores if paired_challenger_scores is None else paired_challenger_scores

    def advantage_over(
        other: ModelScores | None, both_sides: float, mine: ModelScores = challenger_scores
    ) -> Difference | None:
        if other is None:
            return None
        a, b = (mine, other) if maximize else (other, mine)
        return paired_difference(
            a, b, dependent=dependent, block=block, resamples=resamples, confidence=1 - both_sides, seed=seed
        )

    over_baseline = advantage_over(baseline_scores, 1 - confidence)
    over_champion = advantage_over(champion_scores, 2 * level, own)
    used = None if over_champion is None else level
    if over_baseline is not None and _worse(over_baseline, 1 - confidence):
        reason = f"{names.challenger} is significantly worse than {names.baseline}: {_numbers(over_baseline, names)}"
        return Decision(False, f"{reason}.", over_champion, over_baseline, used)
    if over_champion is None:
        promoted, reason = True, f"{names.challenger} is the first version that passes"
    else:
        promoted = over_champion.low > margin and over_champion.p_value < 2 * level
        reason = _against_champion(over_champion, promoted, margin, level, names)
    reason += _about_baseline(over_baseline, 1 - confidence, names)
    return Decision(promoted, reason, over_champion, over_baseline, used)


def kept_out(broken_limits: Sequence[str], names: Names, found: Decision | None = None) -> Decision:
    """The decision about a challenger that breaks limits. `found` is the one without them, where it was taken."""
    reason = f"{names.challenger} is not promoted, whatever its {names.score}: {'; '.join(broken_limits)}."
    if found is None:
        return Decision(False, reason, None, None, broken_limits=tuple(broken_limits))
    reason = f"{reason} Without that limit: {found.reason}"
    return replace(found, promoted=False, reason=reason, broken_limits=tuple(broken_limits))


def could_pass(champion_scores: ModelScores, *, maximize: bool, level: float, margin: float, **drawing: Any) -> bool:
    """Whether a model without a fault would be promoted over this champion at a level: if not, no model would.

    Where nobody knows the best score the answer is yes. `drawing`: dependent, block, resamples and seed as in `decide`.
    """
    faultless = _faultless(champion_scores, maximize)
    if faultless is None:
        return True
    found = decide(
        faultless, champion_scores, maximize=maximize, level=level, confidence=1 - 2 * level, margin=margin,
        baseline_scores=None, **drawing,
    )  # fmt: skip
    return found.promoted


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


def _better(found: Difference, both_sides: float) -> bool:
    return found.low > 0 and found.p_value < both_sides


def _worse(found: Difference, both_sides: float) -> bool:
    return found.high < 0 and found.p_value < both_sides


def _against_champion(found: Difference, promoted: bool, margin: float, level: float, names: Names) -> str:
    if promoted:
        verdict = f"is better than {names.champion}" + (f" by more than the margin of {margin:g}" if margin else "")
    elif _better(found, 2 * level):
        verdict = f"is better than {names.champion}, but not surely by more than the margin of {margin:g}"
    elif _worse(found, 2 * level):
        verdict = f"is significantly worse than {names.champion}"
    else:
        verdict = f"is not shown to be better than {names.champion}"
    needed = f"at the error level {level:.2g} (interval of {100 * (1 - 2 * level):.5g} %, p below {2 * level:.2g})"
    return f"{names.challenger} {verdict}: {_numbers(found, names)}, {needed}"


def _about_baseline(found: Difference | None, both_sides: float, names: Names) -> str:
    if found is None:
        return "; there is no baseline to compare with."
    if _better(found, both_sides):
        return f"; better than {names.baseline}: {_numbers(found, names)}."
    torn = "; interval and test disagree, and it takes both" if found.low > 0 or found.high < 0 else ""
    return f"; {names.baseline} does as well: {_numbers(found, names)}{torn}."


def _numbers(found: Difference, names: Names) -> str:
    width = found.high - found.low
    places = min(max(1 - math.floor(math.log10(width)), 0), 9) if width > 0 else 4  # two digits of the width
    value, low, high = (f"{number:+.{places}f}" for number in (found.difference, found.low, found.high))
    return f"{names.score} advantage {value} ({low} to {high}), p = {found.p_value:.2g}"
