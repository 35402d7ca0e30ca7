"""The gate's reasons: better, worse, or not shown to differ, with numbers and with what the examples could show."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipeline.evaluation.statistics import Difference


@dataclass(frozen=True)
class Names:
    """Holds how the models and the score are called in the reason."""

    challenger: str = "the challenger"
    champion: str = "the champion"
    baseline: str = "the baseline"
    score: str = "score"


def against_champion(difference: Difference | None, promoted: bool, margin: float, level: float, names: Names) -> str:
    """Whether the challenger is better, and the level at which that was asked. None: there is no champion yet."""
    if difference is None:
        return f"{names.challenger} is the first version that passes"
    if promoted:
        verdict = f"is better than {names.champion}" + (f" by more than the margin of {margin:g}" if margin else "")
    elif difference.better:
        verdict = f"is better than {names.champion}, but not surely by more than the margin of {margin:g}"
    elif difference.worse:
        verdict = f"is significantly worse than {names.champion}"
    else:
        verdict = f"is not shown to be better than {names.champion}"
    asked = f"at the error level {level:.2g} (interval of {100 * (1 - 2 * level):.5g} %, p below {2 * level:.2g})"
    small = "" if difference.better or difference.worse else f"; {too_few(difference)}"
    return f"{names.challenger} {verdict}: {numbers(difference, names.score)}, {asked}{small}{doubt(difference)}"


def about_baseline(difference: Difference | None, names: Names) -> str:
    """The second half of a reason."""
    if difference is None:
        return "; there is no baseline to compare with."
    if difference.better or difference.worse:
        verdict = "better" if difference.better else "worse"
        return f"; {verdict} than {names.baseline}: {numbers(difference, names.score)}{doubt(difference)}."
    limits = f"{numbers(difference, names.score)}; {too_few(difference)}{doubt(difference)}"
    return f"; not shown to differ from {names.baseline}: {limits}."


def worse_than_baseline(difference: Difference, names: Names) -> str:
    """Why a model is no champion that a classical method beats."""
    return f"{names.challenger} is significantly worse than {names.baseline}: {numbers(difference, names.score)}."


def no_better_than_guess(difference: Difference, guess: str, names: Names, needed: int | None) -> str:
    """Why a model is no champion that guessing may equal. `needed`: examples that would show its advantage."""
    if difference.worse:
        verdict = f"is worse than {guess}, which only guesses"
    else:
        verdict = f"is not shown to be better than {guess}, which only guesses"
    if needed is None:
        more = "more examples would not help, as it is not ahead"
    else:
        more = f"an advantage of this size would take about {needed} test examples"
    return f"{names.challenger} {verdict}: {numbers(difference, names.score)}; {more}{doubt(difference)}."


def too_few(difference: Difference) -> str:
    """Returns what the examples cannot show: differences below half of the interval's width."""
    half = (difference.high - difference.low) / 2
    return f"{units(difference)} are too few to show less than {_plain(half, difference)}"


def units(difference: Difference) -> str:
    """Returns how many examples count as independent."""
    if difference.units == int(difference.units):
        return f"{int(difference.units)} examples"
    return f"about {difference.units:.2g} independent stretches of examples"


def doubt(difference: Difference) -> str:
    """The reason why an interval is a rough one."""
    return f" ({difference.doubt})" if difference.doubt else ""


def numbers(difference: Difference, score: str) -> str:
    """The advantage with its interval and p-value."""
    value, low, high = (
        _signed(number, difference) for number in (difference.difference, difference.low, difference.high)
    )
    return f"{score} advantage {value} ({low} to {high}), p = {difference.p_value:.2g}"


def _places(difference: Difference) -> int:
    """Two digits of the interval's width."""
    width = difference.high - difference.low
    return min(max(1 - math.floor(math.log10(width)), 0), 9) if width > 0 else 4


def _signed(number: float, difference: Difference) -> str:
    return f"{number:+.{_places(difference)}f}"


def _plain(number: float, difference: Difference) -> str:
    return f"{number:.{_places(difference)}f}"
