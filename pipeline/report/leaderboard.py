"""The models of an experiment side by side: their scores on a common axis, and whether the differences are real."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.report import formatting as readable
from pipeline.report.results import Json
from pipeline.report.verdict import Comparison, compare, lead_decimals, ranking, score_decimals, test_score


def leaderboard(metrics: Json, registry: Json | None) -> dict[str, Any]:
    """Returns rows with the places of their intervals on a common axis, in percent of its width."""
    axis = Axis([value for name in _compared(metrics) for value in _values(metrics, name)])
    champion = ((registry or {}).get("champion") or {}).get("key")
    rows = [_row(metrics, name, axis, champion) for name in ranking(metrics)]
    return {"rows": rows, "ticks": axis.ticks(), "seeds": any(len(row["seeds"]) > 1 for row in rows)}


def _compared(metrics: Json) -> list[str]:
    """Lists the models that set the scale: a hopeless second baseline or a guess would press all into one point."""
    kinds = {name: metrics["models"][name]["kind"] for name in ranking(metrics)}
    baselines = [name for name, kind in kinds.items() if kind == "baseline"]
    return [name for name, kind in kinds.items() if kind not in ("baseline", "guess")] + baselines[:1]


def _values(metrics: Json, name: str) -> list[float]:
    """Lists all figures of a model that have a place on the axis: score, ends of its interval, other seeds."""
    return [
        value for value in [*test_score(metrics, name).values(), *_seeds(metrics, name)] if readable.is_number(value)
    ]


def _seeds(metrics: Json, name: str) -> list[Any]:
    return list(metrics["models"][name].get("seeds", {}).get(metrics["score"], []))


def _row(metrics: Json, name: str, axis: Axis, champion: str | None) -> dict[str, Any]:
    entry, score, decimals = metrics["models"][name], test_score(metrics, name), score_decimals(metrics)
    has_interval = readable.is_number(score.get("low")) and readable.is_number(score.get("high"))
    seeds = [place for value in _seeds(metrics, name) if (place := axis.place(value)) is not None]
    return {
        "name": name,
        "family": entry.get("family") or "baseline",
        "what": _what(entry),
        "guess": entry["kind"] == "guess",
        "challenger": name == metrics["challenger"],
        "champion": champion is not None and champion == entry.get("key"),
        "value": readable.plain(score.get("value"), decimals),
        "low": readable.plain(score.get("low"), decimals) if has_interval else None,
        "high": readable.plain(score.get("high"), decimals),
        "validation": readable.plain(entry.get("validation", {}).get(metrics["score"]), decimals),
        "at": axis.place(score.get("value")),
        "from": axis.place(score.get("low")),
        "to": axis.place(score.get("high")),
        "beyond": axis.side(score.get("value")),
        "seeds": seeds,
    }


class Axis:
    """A common scale for the intervals of an experiment, with a little room at both ends."""

    def __init__(self, values: Sequence[float]) -> None:
        low, high = min(values, default=0.0), max(values, default=1.0)
        room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        self.low, self.high = low - room, high + room

    def place(self, value: Any) -> float | None:
        """Returns the percent of the width, from the left; at an end for what lies beyond it."""
        if not readable.is_number(value):
            return None
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)

    def side(self, value: Any) -> str | None:
        """Names the end beyond which a value lies: left or right."""
        if not readable.is_number(value) or self.low <= value <= self.high:
            return None
        return "left" if value < self.low else "right"

    def ticks(self) -> list[dict[str, Any]]:
        """Returns two to five round numbers on the scale."""
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [
            {"at": self.place(number * step), "text": readable.plain(number * step, decimals)}
            for number in range(first, last + 1)
        ]


def differences(metrics: Json) -> list[dict[str, Any]]:
    """Returns stored comparisons in the score, seen from the better model; that one beats a guess is left out."""
    rows = []
    for entry in metrics.get("differences", {}).values():
        comparison = compare(metrics, entry["a"], entry["b"])
        if comparison is None or entry.get("score", metrics["score"]) != metrics["score"]:
            continue
        if metrics["models"].get(entry["b"], {}).get("kind") == "guess" and comparison.outcome == "better":
            continue
        winner, loser = (entry["a"], entry["b"]) if comparison.gain >= 0 else (entry["b"], entry["a"])
        lead = compare(metrics, winner, loser)
        assert lead is not None
        rows.append(_difference(winner, lead, entry, lead_decimals(metrics, lead)))
    return rows


def _difference(winner: str, lead: Comparison, entry: Json, decimals: int) -> dict[str, Any]:
    return {
        "winner": winner,
        "loser": lead.other,
        "gain": readable.signed(lead.gain, decimals),
        "interval": f"{readable.signed(lead.low, decimals)} to {readable.signed(lead.high, decimals)}",
        "certain": lead.outcome != "equal",
        "p_value": readable.probability(entry.get("p_value")),
        "method": readable.words(str(entry.get("method", ""))),
    }


def _what(entry: Json) -> str:
    if entry["kind"] != "candidate":
        return str(entry["kind"])
    return " · ".join(str(part) for part in (readable.words(entry["family"]), entry.get("architecture")) if part)
