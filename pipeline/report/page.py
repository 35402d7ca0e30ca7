"""The report as one HTML page that needs nothing else: pictures are in it, and no line of it asks the network.

This file decides what the page shows; page.html.j2 decides how it looks.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.params import Params
from pipeline.report import formatting as readable
from pipeline.report.data_card import described
from pipeline.report.events import history
from pipeline.report.leaderboard import differences, leaderboard
from pipeline.report.results import CandidateResults, Json, Results
from pipeline.report.ten_page import view
from pipeline.report.ten_results import MeasuredDifference
from pipeline.report.verdict import about_champion, asked_often, ranking, verdict

if TYPE_CHECKING:
    from markupsafe import Markup


def page(
    results: Sequence[Results],
    params: Params,
    commit: str | None,
    tracking: str | None,
    ten: Sequence[MeasuredDifference] = (),
) -> str:
    """Renders the page. `commit` is the code it was made with, `tracking` the address of MLflow as it may be shown.

    `ten` are the differences between the families; they are left out where none has been measured.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"words": readable.words, "capitalised": readable.capitalised, "grouped": readable.grouped}
    environment.filters |= {"unbroken": unbroken, "commands": commands}
    shown = [experiment(entry, params) for entry in results]
    return environment.get_template("page.html.j2").render(
        experiments=shown, ten=view(ten), commit=commit, tracking=tracking
    )


def experiment(results: Results, params: Params) -> dict[str, Any]:
    """Collects everything the template shows of one experiment."""
    shown: dict[str, Any] = {
        "name": results.name,
        "description": results.description,
        "task": readable.words(results.task),
        "notes": results.notes,
        "verdict": None,
        "data": described(results.card) if results.card else None,
        "candidates": [training(candidate) for candidate in results.candidates.values()],
        "parameters": parameters(results, params),
        "predictions": predictions(results),
        "decision": decision(results.registry),
        "asked_often": asked_often(results.registry, results.metrics) if results.metrics else "",
        "history": history(results.registry),
        "pending": (results.registry or {}).get("pending") or [],
        "provenance": provenance(results),
    }
    return shown | (measured(results, results.metrics) if results.metrics else {})


def measured(results: Results, metrics: Json) -> dict[str, Any]:
    """Returns what the metrics file adds: verdict, leaderboard and comparisons."""
    return {
        "verdict": verdict(metrics),
        "champion": about_champion(results.registry, metrics),
        "score": readable.words(metrics["score"]),
        "direction": "higher" if metrics["maximize"] else "lower",
        "confidence": readable.percent(metrics["confidence"]),
        "leaderboard": leaderboard(metrics, results.registry),
        "differences": differences(metrics),
        "families": families(results, metrics),
        "figures": other_figures(metrics),
    }


def families(results: Results, metrics: Json) -> dict[str, Any]:
    """Lists properties down, candidates across: what each family costs and what it brings."""
    candidates = [candidate for name, candidate in results.candidates.items() if name in metrics["models"]]
    entries = {candidate.name: metrics["models"][candidate.name] for candidate in candidates}
    latencies = {candidate.name: candidate.latency or {} for candidate in candidates}
    rows = {
        "Architecture": [str(entries[c.name].get("architecture") or readable.ABSENT) for c in candidates],
        "Parameters": [readable.grouped(entries[c.name].get("parameters")) for c in candidates],
        "Multiply-adds per example": [readable.compact(entries[c.name].get("multiply_adds")) for c in candidates],
        "Trials of the search": [_trials(c) for c in candidates],
        "Time of the search": [readable.duration(c.seconds.get("tune")) for c in candidates],
        "Time of the training": [readable.duration(c.seconds.get("train")) for c in candidates],
        "Latency, half of all calls within": [
            readable.milliseconds(latencies[c.name].get("p50_ms")) for c in candidates
        ],
        "Latency, 95\u202f% of all calls within": [
            readable.milliseconds(latencies[c.name].get("p95_ms")) for c in candidates
        ],
    }
    known = {name: cells for name, cells in rows.items() if any(cell != readable.ABSENT for cell in cells)}
    return {"columns": [(c.name, c.family) for c in candidates], "rows": known}


def other_figures(metrics: Json) -> dict[str, Any]:
    """Lists all figures on test with their intervals, models across."""
    names = ranking(metrics)
    kinds = list(dict.fromkeys(kind for name in names for kind in metrics["models"][name].get("test", {})))
    rows = {}
    for kind in kinds:
        cells = [metrics["models"][name].get("test", {}).get(kind) or {} for name in names]
        rows[readable.capitalised(readable.words(kind))] = [_with_interval(cell) for cell in cells]
    columns = [(name, metrics["models"][name].get("family") or "baseline") for name in names]
    return {"columns": columns, "rows": rows}


def training(candidate: CandidateResults) -> dict[str, Any]:
    """Returns curves, repeats and the search of one candidate."""
    repeats = candidate.model["repeats"] if candidate.model else []
    return {
        "name": candidate.name,
        "family": candidate.family,
        "curves": [figure(path, candidate.name) for path in candidate.curves],
        "search": [figure(path, candidate.name) for path in candidate.search_pictures],
        "trials": _trials(candidate),
        "repeats": [
            {
                "seed": repeat["seed"],
                "best_epoch": repeat["best_epoch"],
                "epochs": repeat["epochs"],
                "chosen": candidate.model is not None and place == candidate.model.get("chosen"),
                "validation": {name: readable.plain(value, 4) for name, value in repeat["validation"].items()},
            }
            for place, repeat in enumerate(repeats)
        ],
    }


def parameters(results: Results, params: Params) -> dict[str, Any]:
    """Lists the value of every parameter: those that were searched with their space, and those that were fixed."""
    chosen = {name: dict((c.model or c.best or {}).get("parameters", {})) for name, c in results.candidates.items()}
    spaces = {name: params.candidates[name].parameters for name in chosen}
    searched: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    for key in dict.fromkeys(key for values in chosen.values() for key in values):
        cells = [
            (readable.value_of_parameter(values[key]), space(spaces[name].get(key))) if key in values else ("–", "")
            for name, values in chosen.items()
        ]
        (searched if any(aside for _, aside in cells) else fixed)[readable.capitalised(readable.words(key))] = cells
    columns = [(name, results.candidates[name].family) for name in chosen]
    return {name: {"columns": columns, "rows": rows} for name, rows in (("searched", searched), ("fixed", fixed))}


def predictions(results: Results) -> list[dict[str, Any]]:
    """Groups pictures of the predictions: the same one of all models next to each other, the best model first."""
    models = [name for name in ranking(results.metrics) if name in results.pictures] if results.metrics else []
    stems = dict.fromkeys(path.stem for name in models for path in results.pictures[name])
    groups = []
    for stem in stems:
        figures = [figure(path, name) for name in models for path in results.pictures[name] if path.stem == stem]
        wide = any(picture["width"] > 1.5 * picture["height"] for picture in figures)
        title = readable.capitalised(readable.words(stem))
        groups.append({"title": title, "figures": figures, "class": "wide" if wide else "small"})
    return groups


def decision(registry: Json | None) -> dict[str, Any] | None:
    """Returns what the gate decided last, why, and which version is the champion; None before its first decision."""
    latest = (registry or {}).get("decision")
    if not registry or not latest:
        return None
    return {
        "promoted": bool(latest.get("promoted")),
        "reason": latest.get("reason") or "No reason was recorded.",
        "model": registry.get("model"),
        "champion": registry.get("champion") or {},
    }


def provenance(results: Results) -> dict[str, str]:
    """Lists what the results were made of: enough to find the runs in MLflow and the bytes in DVC."""
    facts: dict[str, Any] = {"Data": (results.card or {}).get("data")}
    for candidate in results.candidates.values():
        model = candidate.model or {}
        facts[f"Key of {candidate.name}"] = model.get("key")
    first: Mapping[str, Any] = next((c.model for c in results.candidates.values() if c.model), {})
    facts |= {"Seed": first.get("seed"), "Precision": first.get("precision"), "Threads": first.get("threads")}
    return {name: str(value) for name, value in facts.items() if value is not None}


def figure(path: Path, owner: str) -> dict[str, Any]:
    """Returns a PNG as a data address, with its size and with words for those who cannot see it."""
    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    return {
        "owner": owner,
        "title": readable.words(path.stem),
        "source": f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}",
        "width": width,
        "height": height,
    }


def commands(text: str) -> Markup:
    """Marks what is between backticks as code; all else is escaped."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def unbroken(text: str) -> Markup:
    """Keeps names such as digits-cnn on one line."""
    from markupsafe import Markup, escape

    spans = re.sub(r"\w+(?:-\w+)+", lambda name: f'<span class="unbroken">{name[0]}</span>', str(escape(text)))
    return Markup(spans)


def _trials(candidate: CandidateResults) -> str:
    if candidate.best is None:
        return readable.ABSENT
    asides = [f"{candidate.best['pruned']} stopped early"] if candidate.best.get("pruned") else []
    asides += [f"{candidate.failed} failed"] if candidate.failed else []
    return f"{candidate.best['trials']}" + (f" ({', '.join(asides)})" if asides else "")


def _with_interval(cell: Json) -> tuple[str, str]:
    low, high = cell.get("low"), cell.get("high")
    if not (readable.is_number(low) and readable.is_number(high)):
        return readable.plain(cell.get("value")), ""
    decimals = readable.decimals_for((high - low) / 2)
    ends = f"{readable.plain(low, decimals)} to {readable.plain(high, decimals)}"
    return readable.plain(cell.get("value"), decimals), ends


def space(entry: Any) -> str:
    """Describes a search space in a few words; nothing for a fixed value."""
    if hasattr(entry, "choices"):
        return "of " + ", ".join(readable.value_of_parameter(choice) for choice in entry.choices)
    if hasattr(entry, "low"):
        return f"of {entry.low:g} to {entry.high:g}" + (", logarithmic" if entry.log else "")
    return ""
