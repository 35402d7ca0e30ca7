"""Numbers as people read them: as many digits as the uncertainty allows, and no more."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

MINUS, THIN_SPACE, ABSENT = "−", "\u202f", "–"
CAPITALS = "ap ap50 auc bleu cer cnn crps f1 iou mae map mase mse rmse rnn smape wer"
SPELLED = {name: name.upper() for name in CAPITALS.split()} | {"chrf": "chrF"}


def decimals_for(half_width: float | None) -> int:
    """Returns the decimals that show two digits of an uncertainty; between 0 and 4, and 3 where none is known."""
    if half_width is None or not math.isfinite(half_width) or half_width <= 0:
        return 3
    return min(4, max(0, 1 - math.floor(math.log10(half_width))))


def plain(value: Any, decimals: int = 3) -> str:
    """Formats a figure with a fixed number of decimals; a dash where there is none."""
    if not is_number(value):
        return ABSENT
    text = f"{abs(value):,.{decimals}f}".replace(",", THIN_SPACE)
    return MINUS + text if value < 0 and text.strip("0.") else text


def signed(value: Any, decimals: int = 3) -> str:
    """Formats a difference with its sign."""
    text = plain(value, decimals)
    return f"+{text}" if is_number(value) and value > 0 and text.strip("0.") else text


def compact(value: Any) -> str:
    """Formats a count in three digits: 950, 12.3 k, 4.56 M."""
    if not is_number(value):
        return ABSENT
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{THIN_SPACE}{unit}"
    return f"{value:.0f}"


def grouped(value: Any) -> str:
    """Formats a whole number in groups of three digits."""
    return f"{value:,.0f}".replace(",", THIN_SPACE) if is_number(value) else ABSENT


def duration(seconds: Any) -> str:
    """Formats seconds as people read them: 0.42 s, 38 s, 12 min 5 s, 3 h 20 min."""
    if not is_number(seconds):
        return ABSENT
    if seconds < 59.5:
        return f"{seconds:.2g}{THIN_SPACE}s" if seconds < 9.95 else f"{seconds:.0f}{THIN_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{THIN_SPACE}min {rest}{THIN_SPACE}s"
    return f"{minutes // 60}{THIN_SPACE}h {minutes % 60}{THIN_SPACE}min"


def milliseconds(value: Any) -> str:
    """Formats a latency in two digits: 0.37 ms, 4.2 ms, 130 ms."""
    if not is_number(value):
        return ABSENT
    return f"{value:.2g}{THIN_SPACE}ms" if value < 9.95 else f"{value:.0f}{THIN_SPACE}ms"


def value_of_parameter(value: Any) -> str:
    """Formats a parameter as params.yaml would have it, floats in four digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def percent(share: float) -> str:
    """Formats a share in percent: 0.95 → 95 %."""
    return f"{100 * share:g}{THIN_SPACE}%"


def probability(value: Any) -> str:
    """Formats a p-value; tiny ones as a bound."""
    if not is_number(value):
        return ABSENT
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether there is a figure to show: None and NaN are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def words(name: str) -> str:
    """Spells a name of a file or figure in words: macro_f1 → macro F1."""
    parts = name.replace("-", "_").split("_")
    return " ".join(SPELLED.get(part.lower(), part) for part in parts)


def capitalised(text: str) -> str:
    """Returns the text with its first letter as a capital."""
    return text[:1].upper() + text[1:]


def shortened(text: str, longest: int) -> str:
    """Returns the text, or its beginning where it has more characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def enumerated(names: list[str]) -> str:
    """Joins names as in: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
