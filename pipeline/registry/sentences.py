"""The gate's reasons: better, worse, or not shown to differ, with numbers and with what the examples could show."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.evaluation.statistics import Difference


@dataclass(frozen=True)
class Names:
    """How the models and the score are called in the reason."""

    challenger: str = "the challenger"
    champion: str = "the champion"
    baseline: str = "the baseline"
    score: str = "score"


def against_champion(found: Difference | None, promoted: bool, margin: float, level: float, names: Names) -> str:
    """Whether the challenger is better, and the level at which that was asked. None: there is no champion yet."""
    if found is None:
        return f"{names.challenger} is the first version that passes"
    if promoted:
        verdict = f"is better than {names.champion}" + (f" by more than the margin of {margin:g}" if margin else "")
    elif found.better:
        verdict = f"is better than {names.champion}, but not surely by more than the margin of {margin:g}"
    elif found.worse:
        verdict = f"is significantly worse than {names.champion}"
    else:
        verdict = f"is not shown to be better than {names.champion}"
    asked = f"at the error level {level:.2g} (interval of {100 * (1 - 2 * level):.5g} %, p below {2 * level:.2g})"
    small = "" if found.better or found.worse else f"; {too_few(found)}"
    return f"{names.challenger} {verdict}: {numbers(found, names.score)}, {asked}{small}{doubt(found)}"


def about_baseline(found: Difference | None, names: Names) -> str:
    """The second half of a reason."""
    if found is None:
        return "; there is no baseline to compare with."
    if found.better or found.worse:
        verdict = "better" if found.better else "worse"
        return f"; {verdict} than {names.baseline}: {numbers(found, names.score)}{doubt(found)}."
    return (
        f"; not shown to differ from {names.baseline}: {numbers(found, names.score)}; {too_few(found)}{doubt(found)}."
    )


def worse_than_baseline(found: Difference, names: Names) -> str:
    """Why a model is no champion that a classical method beats."""
    return f"{names.challenger} is significantly worse than {names.baseline}: {numbers(found, names.score)}."


def no_better_than_guess(found: Difference, guess: str, names: Names, needed: int | None) -> str:
    """Why a model is no champion that guessing may equal. `needed`: examples that would show its advantage."""
    if found.worse:
        verdict = f"is worse than {guess}, which only guesses"
    else:
        verdict = f"is not shown to be better than {guess}, which only guesses"
    if needed is None:
        more = "more examples would not help, as it is not ahead"
    else:
        more = f"an advantage of this size would take about {needed} test examples"
    return f"{names.challenger} {verdict}: {numbers(found, names.score)}; {more}{doubt(found)}."


def too_few(found: Difference) -> str:
    """What the examples cannot show: differences below half of the interval's width."""
    return f"{units(found)} are too few to show less than {_plain((found.high - found.low) / 2, found)}"


def units(found: Difference) -> str:
    """How many examples count as independent."""
    if found.units == int(found.units):
        return f"{int(found.units)} examples"
    return f"about {found.units:.2g} independent stretches of examples"


def doubt(found: Difference) -> str:
    """The reason why an interval is a rough one."""
    return f" ({found.doubt})" if found.doubt else ""


def numbers(found: Difference, score: str) -> str:
    """The advantage with its interval and p-value."""
    value, low, high = (_signed(number, found) for number in (found.difference, found.low, found.high))
    return f"{score} advantage {value} ({low} to {high}), p = {found.p_value:.2g}"


def _places(found: Difference) -> int:
    """Two digits of the interval's width."""
    width = found.high - found.low
    return min(max(1 - math.floor(math.log10(width)), 0), 9) if width > 0 else 4


def _signed(number: float, found: Difference) -> str:
    return f"{number:+.{_places(found)}f}"


def _plain(number: float, found: Difference) -> str:
    return f"{number:.{_places(found)}f}"
