"""The gate: does the evidence hold that a challenger shall take the champion's place?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import ArrayLike

from pipeline.registry.statistics import Difference, paired_difference


@dataclass(frozen=True)
class Decision:
    """What the gate says and why. Advantages are positive where the challenger is better, whatever the score."""

    promoted: bool
    reason: str
    over_champion: Difference | None  # None: there is no champion yet
    over_baseline: Difference | None

    def evidence(self) -> dict[str, Any]:
        """The comparisons as plain JSON."""
        return {
            name: None if found is None else asdict(found)
            for name, found in (("over_champion", self.over_champion), ("over_baseline", self.over_baseline))
        }


@dataclass(frozen=True)
class Names:
    """How the models and the score are called in the reason."""

    challenger: str = "the challenger"
    champion: str = "the champion"
    baseline: str = "the baseline"
    score: str = "score"


def decide(
    challenger_scores: ArrayLike,
    champion_scores: ArrayLike | None,
    *,
    maximize: bool,
    dependent: bool,
    resamples: int,
    confidence: float,
    margin: float,
    seed: int,
    baseline_scores: ArrayLike | None,
    block: int | None = None,
    names: Names | None = None,
) -> Decision:
    """Compares scores of the same examples, in the same order; None stands for a model that does not exist.

    A challenger that is significantly worse than the baseline is never promoted. Without a champion everything else
    is. With one, the lower end of the interval of the advantage must lie above `margin`, and the advantage must be
    significant. `dependent` and `block` as in `paired_difference`.
    """
    names = names or Names()

    def advantage_over(other: ArrayLike | None) -> Difference | None:
        if other is None:
            return None
        a, b = (challenger_scores, other) if maximize else (other, challenger_scores)
        return paired_difference(
            a, b, dependent=dependent, block=block, resamples=resamples, confidence=confidence, seed=seed
        )

    over_champion, over_baseline = advantage_over(champion_scores), advantage_over(baseline_scores)
    level = 1 - confidence
    if over_baseline is not None and _worse(over_baseline, level):
        reason = f"{names.challenger} is significantly worse than {names.baseline}: {_numbers(over_baseline, names)}"
        return Decision(False, f"{reason}.", over_champion, over_baseline)
    if over_champion is None:
        promoted, reason = True, f"{names.challenger} is the first version that passes"
    else:
        promoted = over_champion.low > margin and over_champion.p_value < level
        reason = _against_champion(over_champion, promoted, margin, level, names)
    return Decision(promoted, reason + _about_baseline(over_baseline, level, names), over_champion, over_baseline)


def _better(found: Difference, level: float) -> bool:
    return found.low > 0 and found.p_value < level


def _worse(found: Difference, level: float) -> bool:
    return found.high < 0 and found.p_value < level


def _against_champion(found: Difference, promoted: bool, margin: float, level: float, names: Names) -> str:
    if promoted:
        verdict = f"is better than {names.champion}" + (f" by more than the margin of {margin:g}" if margin else "")
    elif _better(found, level):
        verdict = f"is better than {names.champion}, but not surely by more than the margin of {margin:g}"
    elif _worse(found, level):
        verdict = f"is significantly worse than {names.champion}"
    else:
        verdict = f"is not shown to be better than {names.champion}"
    return f"{names.challenger} {verdict}: {_numbers(found, names)}"


def _about_baseline(found: Difference | None, level: float, names: Names) -> str:
    if found is None:
        return "; there is no baseline to compare with."
    if _better(found, level):
        return f"; better than {names.baseline}: {_numbers(found, names)}."
    return f"; {names.baseline} does as well: {_numbers(found, names)}."


def _numbers(found: Difference, names: Names) -> str:
    interval = f"[{found.low:+.4g}, {found.high:+.4g}]"
    return f"{names.score} advantage {found.difference:+.4g} {interval}, p = {found.p_value:.2g}"
