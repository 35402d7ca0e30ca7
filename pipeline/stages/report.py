"""Shows the results of all experiments: reports/index.html for people, reports/summary.md for a pull request."""

from __future__ import annotations

from pathlib import Path

from pipeline.differences import DIFFERENCES
from pipeline.files.atomic import write_whole
from pipeline.params import Params
from pipeline.report.page import page
from pipeline.report.results import read_results
from pipeline.report.summary import summary
from pipeline.report.ten_results import read_differences
from pipeline.tracking.address import address_of
from pipeline.tracking.git import text

FOLDER = Path("reports")


def main(name: str | None, params: Params) -> None:
    """Writes the report of all experiments; needs none of their outputs to be there."""
    results = [read_results(params, experiment, Path()) for experiment in params.experiments]
    tracking = address_of(params.tracking)
    commit = text(Path.cwd(), "describe", "--always", "--dirty= and changes", "--exclude=*")
    ten = read_differences(DIFFERENCES)
    html = page(results, params, commit or None, tracking.shown if tracking.remote else None, ten)
    write_whole(FOLDER / "index.html", html.encode())
    write_whole(FOLDER / "summary.md", summary(results).encode())
    print(f"report: {len(results)} experiments in {FOLDER / 'index.html'}, in short in {FOLDER / 'summary.md'}")
