"""The prepared data in the report: counts, split, warnings, and what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.report import formatting as readable
from pipeline.report.results import Json

SPLITS = ("train", "validation", "test")
MANY_CLASSES = 50  # from here on the page shows how the counts of the classes spread instead of listing them


def described(card: Json) -> dict[str, Any]:
    """Returns counts, split and warnings of the prepared data."""
    counts = {part: card["counts"][part] for part in SPLITS if part in card["counts"]}
    total = sum(counts.values()) or 1
    unit, facts_of = _kind(card)
    facts = card.get("facts") or facts_of(card)
    return {
        "counts": [{"name": name, "count": n, "share": round(100 * n / total, 2)} for name, n in counts.items()],
        "unit": card.get("unit", unit),
        "split": card.get("split", {}),
        "facts": {name: value for name, value in facts.items() if value},
        "warnings": card.get("warnings", []),
        "classes": _class_table(card),
    }


def _kind(card: Json) -> tuple[str, Callable[[Json], dict[str, str]]]:
    """Returns the plural name of an example, and a function that gives facts where the card has none of its own."""
    if card.get("shape") == "grid":
        return "images", _grid_facts
    if "source_tokenizer" in card:
        return "pairs of sentences", _pair_facts
    if "tokenizer" in card:
        return "sentences", _text_facts
    return ("series", _labelled_facts) if "classes" in card else ("rows", _sequence_facts)


def _grid_facts(card: Json) -> dict[str, str]:
    size = f"{card.get('channels')} × {card.get('height')} × {card.get('width')} (channels × height × width)"
    classes = {"Classes": str(len(card["classes"]))} if card.get("classes") else {}
    return {"Size": size, "Pixel values": f"0 to {card.get('maximum')}", **classes}


def _pair_facts(card: Json) -> dict[str, str]:
    sides = ("source", "target")
    means = {
        f"Tokens of a pair of {part}": ", ".join(f"{mean:g} {side}" for mean, side in zip(by_side, sides, strict=True))
        for part, by_side in card["mean_tokens"].items()
    }
    sizes = {f"Vocabulary, {side}": readable.grouped(card[f"{side}_vocabulary"]) for side in sides}
    return {**means, **sizes, "Case": _case(card)}


def _text_facts(card: Json) -> dict[str, str]:
    means = {f"Tokens of a sentence of {part}": f"{mean:g}" for part, mean in card["mean_tokens"].items()}
    rest = {"Vocabulary": readable.grouped(card["vocabulary"]), "Case": _case(card)}
    return {**means, **rest, "Classes": str(len(card["classes"]))}


def _case(card: Json) -> str:
    return "all text in lower case" if card.get("lowercase") else "as written"


def _labelled_facts(card: Json) -> dict[str, str]:
    steps = {part: " to ".join(map(str, sorted(set(ends)))) for part, ends in card.get("steps", {}).items()}
    return {
        "Channels": str(len(card.get("columns", []))),
        **{f"Steps in {part}": span for part, span in steps.items()},
        "Classes": str(len(card["classes"])),
        "Missing values": _gaps(card),
    }


def _sequence_facts(card: Json) -> dict[str, str]:
    spans = {part: f"{card['start'][part]} to {card['end'][part]}" for part in SPLITS if part in card.get("start", {})}
    return {
        "Series": ", ".join(card.get("columns", [])),
        **{f"Time of {part}": span.replace("T00:00:00", "") for part, span in spans.items()},
        "Forecast": f"{card.get('horizon')} rows ahead from {card.get('lookback')} rows; season {card.get('season')}",
        "Missing values": _gaps(card),
    }


def _gaps(card: Json) -> str:
    missing = {part: sum(_counts(card["missing"][part])) for part in SPLITS if part in card.get("missing", {})}
    gaps = readable.enumerated([f"{count} in {part}" for part, count in missing.items() if count])
    return f"{gaps}; filled by the rule “{card.get('missing_rule')}”" if gaps else "none"


def _counts(missing: Any) -> list[int]:
    return [int(count) for count in missing.values()] if isinstance(missing, Mapping) else [int(missing)]


def _class_table(card: Json) -> dict[str, Any] | None:
    counts = {part: n for part in SPLITS if (n := card.get("class_counts", {}).get(part))}
    if not counts:
        return None
    if len(card["classes"]) > MANY_CLASSES:
        spread = {part: f"{min(n.values())} to {max(n.values())} a class" for part, n in counts.items()}
        return {"columns": list(spread), "rows": {"Examples": list(spread.values())}}
    return {
        "columns": list(counts),
        "rows": {name: [n.get(name, 0) for n in counts.values()] for name in card["classes"]},
    }
