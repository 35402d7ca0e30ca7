"""Shows the results of all experiments: reports/index.html for people, reports/summary.md for a pull request."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.folders import write_whole
from pipeline.differences import DIFFERENCES
from pipeline.params import Params
from pipeline.tracking.address import address_of
from pipeline.tracking.git import text
from pipeline.tracking.page import page
from pipeline.tracking.results import read_results
from pipeline.tracking.summary import summary
from pipeline.tracking.ten_results import read_differences

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
