"""Measured figures, kept in files of their own for the table of docs/results.md.

metrics/ and timings/ hold one machine's last run of the experiments that params.yaml names at the moment; recipes come
and go. So the figures that docs/results.md shows are taken over into docs/results/<experiment>.json, and the table is
made of these files alone: nobody types a figure.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.report import formatting as readable
from pipeline.report.results import CandidateResults, Json, Results
from pipeline.report.verdict import Comparison, compare, lead_decimals, ranking, score_decimals, strongest, test_score

BEGIN = "<!-- Made by `python -m pipeline results` from docs/results/; edits are lost. -->"
END = "<!-- End of the results. -->"
WIDTH = 120  # characters of a line of prose
STAGES = ("tune", "train")
KEPT = ("experiment", "task", "score", "maximize", "confidence", "challenger", "differences")
KEPT_OF_A_MODEL = ("kind", "family", "architecture", "key", "parameters", "multiply_adds", "validation", "test")


def facts_of(results: Results, command: str, machine: str, earlier: Json | None) -> dict[str, Any]:
    """Returns what the table needs of an experiment's results. `earlier` are the facts that were taken over before.

    Times that this machine does not know, and the machine itself, are those of `earlier`, if they belong to the same
    trainings.
    """
    metrics = results.metrics
    assert metrics is not None
    before: Json = earlier["models"] if earlier else {}
    models = {
        name: _model(entry, results.candidates.get(name), before.get(name, {}))
        for name, entry in metrics["models"].items()
    }
    kept = {key: metrics[key] for key in KEPT if key in metrics}
    timed = any(candidate.seconds for candidate in results.candidates.values())
    known = any(model.get("seconds") for model in models.values())
    where = machine if timed else earlier["machine"] if known and earlier else None
    return {**kept, "description": results.description, "command": command, "machine": where, "models": models}


def table(facts: Sequence[Json]) -> str:
    """Formats Markdown: a row a model, the best on test first, `make repro` before the recipes; and what follows."""
    facts = sorted(facts, key=lambda entry: (entry["command"] != "make repro", entry["experiment"]))
    heads = ["experiment", "model", "test score", "validation", "parameters", "multiply-adds", "search + training"]
    lines = [_row([*heads, "command"]), _row(["---", "---", *["---:"] * 5, "---"])]
    for entry in facts:
        lines += map(_row, _rows(entry))
    if not facts:
        return "Nothing is measured yet.\n"
    levels = readable.enumerated([readable.percent(level) for level in sorted({e["confidence"] for e in facts})])
    note = f"Test split with {levels} intervals; bold: picked on validation. Multiply-adds of one example."
    return "\n".join([*lines, "", note, *_machines(facts), "", *_leads(facts), ""])


def with_table(document: str, table: str) -> str:
    """Returns a document with the table between its two marks. Raises ValueError where they are not there once each."""
    if document.count(BEGIN) != 1 or document.count(END) != 1 or document.index(BEGIN) > document.index(END):
        raise ValueError(f"docs/results.md has no place for the results; put these two lines there: {BEGIN} and {END}")
    before, rest = document.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n{END}{rest.split(END)[1]}"


def _machines(facts: Sequence[Json]) -> Iterator[str]:
    """Lists the machines that measured: that of most experiments comes last, as that of all others."""
    where: dict[str, list[str]] = {}
    for entry in facts:
        if entry["machine"]:
            where.setdefault(entry["machine"], []).append(entry["experiment"])
    *some, most = sorted(where, key=lambda machine: len(where[machine])) or [""]
    for machine in some:
        yield from textwrap.wrap(f"Times of {readable.enumerated(where[machine])} on {machine}.", WIDTH)
    if most:
        yield from textwrap.wrap(f"Times{' of all others' if some else ''} on {most}.", WIDTH)


def _leads(facts: Sequence[Json]) -> Iterator[str]:
    """Yields a second table: how far the model that validation picked is ahead, in pairs on the same examples."""
    yield "By how much the picked model is better on test, in pairs on the same examples (below zero: worse):"
    yield ""
    yield _row(["experiment", "picked", "than the other family", "than the best baseline"])
    yield _row(["---"] * 4)
    for entry in facts:
        picked = entry["challenger"]
        rivals = [strongest(entry, kind, without=picked) for kind in ("candidate", "baseline")]
        leads = [_lead(entry, compare(entry, picked, rival)) for rival in rivals]
        yield _row([_title(entry), _named(picked, entry["models"][picked]), *leads])


def _lead(facts: Json, comparison: Comparison | None) -> str:
    if comparison is None:
        return readable.ABSENT
    gain, low, high = (
        readable.signed(value, lead_decimals(facts, comparison))
        for value in (comparison.gain, comparison.low, comparison.high)
    )
    return f"{gain} ({low} to {high}): {'not shown to differ' if comparison.outcome == 'equal' else comparison.outcome}"


def _model(entry: Json, candidate: CandidateResults | None, earlier: Json) -> dict[str, Any]:
    kept = {key: entry[key] for key in KEPT_OF_A_MODEL if key in entry}
    if entry["kind"] != "candidate":
        return kept
    seconds = dict(candidate.seconds) if candidate else {}
    if not seconds and earlier.get("key") == entry["key"]:
        seconds = dict(earlier.get("seconds", {}))
    return {**kept, "seconds": seconds}


def _rows(facts: Json) -> Iterator[list[str]]:
    """Yields cells of an experiment; what all rows share is in the first one. Of guesses only the best is there."""
    decimals, guess = score_decimals(facts), strongest(facts, "guess", without="")
    shown = [name for name in ranking(facts) if facts["models"][name]["kind"] != "guess" or name == guess]
    for place, name in enumerate(shown):
        entry = facts["models"][name]
        yield [
            _title(facts) if place == 0 else "",
            f"**{_named(name, entry)}**" if name == facts["challenger"] else _named(name, entry),
            _score(test_score(facts, name), decimals),
            readable.plain(entry["validation"].get(facts["score"]), decimals),
            readable.compact(entry.get("parameters")),
            readable.compact(entry.get("multiply_adds")),
            _minutes(entry.get("seconds") or {}),
            f"`{facts['command']}`" if place == 0 else "",
        ]


def _title(facts: Json) -> str:
    """Names the experiment and its score; a `remark` is in a file until the experiment is measured again."""
    remark = f" ({facts['remark']})" if facts.get("remark") else ""
    return f"{facts['experiment']}, {readable.words(facts['score'])}{remark}"


def _named(name: str, entry: Json) -> str:
    if entry["kind"] != "candidate":
        return f"{readable.words(name)} ({entry['kind']})"
    return f"{readable.words(str(entry['family']))}: {entry['architecture']}"


def _score(score: Json, decimals: int) -> str:
    value = readable.plain(score.get("value"), decimals)
    if not (readable.is_number(score.get("low")) and readable.is_number(score.get("high"))):
        return value
    return f"{value} ({readable.plain(score['low'], decimals)} to {readable.plain(score['high'], decimals)})"


def _minutes(seconds: Json) -> str:
    """Adds up search and training, where both were measured."""
    if set(seconds) != set(STAGES):
        return readable.ABSENT
    return f"{sum(seconds.values()) / 60:.1f}{readable.THIN_SPACE}min"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\|", r"\\|", cell) for cell in cells) + " |"
