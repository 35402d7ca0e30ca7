"""Prints the results of all experiments, and where to see more of them."""

from __future__ import annotations

from pathlib import Path

from pipeline.escaping import in_one_line
from pipeline.params import Params, ParamsError, nearest
from pipeline.report import formatting as readable
from pipeline.report.results import Json, Results, read_results
from pipeline.report.verdict import ranking, score_decimals, test_score, verdict
from pipeline.tracking.address import address_of


def main(name: str | None, params: Params) -> None:
    """Prints all experiments, or the one of this name."""
    if name is not None and name not in params.experiments:
        raise ParamsError(f"there is no experiment {name!r}; {nearest(name, params.experiments)}")
    for experiment in [name] if name else params.experiments:
        print(f"\n{table(read_results(params, experiment, Path()))}")
    report, tracking = Path("reports/index.html"), address_of(params.tracking)
    where = report.resolve().as_uri() if report.exists() else "not there yet; `make repro` writes it"
    print(f"\nReport:    {where}")
    print(f"MLflow UI: {tracking.shown if tracking.remote else 'make ui'}")


def table(results: Results) -> str:
    """Returns the verdict of an experiment and its models, the best on test first; the challenger has a star."""
    metrics = results.metrics
    if metrics is None:
        return "\n".join([results.name, *(f"  {in_one_line(note)}" for note in results.notes)])
    heads = ["", "model", "kind", f"test {readable.words(metrics['score'])}", "interval", "validation", "parameters"]
    rows = [[in_one_line(cell) for cell in row] for row in (heads, *(_row(metrics, name) for name in ranking(metrics)))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"! {in_one_line(note)}" for note in results.notes]
    return "\n".join(
        [f"{results.name}: {in_one_line(verdict(metrics).headline)}", *(f"  {line}" for line in [*lines, *notes])]
    )


def _row(metrics: Json, name: str) -> list[str]:
    entry, score, decimals = metrics["models"][name], test_score(metrics, name), score_decimals(metrics)
    ends = [readable.plain(score.get(end), decimals) for end in ("low", "high")]
    return [
        "*" if name == metrics["challenger"] else "",
        name,
        entry.get("architecture") or entry["kind"],
        readable.plain(score.get("value"), decimals),
        " to ".join(ends) if readable.ABSENT not in ends else readable.ABSENT,
        readable.plain(entry.get("validation", {}).get(metrics["score"]), decimals),
        readable.grouped(entry.get("parameters")),
    ]
