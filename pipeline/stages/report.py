"""Shows the results of all experiments: reports/index.html for people, reports/summary.md for a pull request."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pipeline.params import Params
from pipeline.tracking.address import address_of
from pipeline.tracking.page import page
from pipeline.tracking.results import read_results
from pipeline.tracking.summary import summary

FOLDER = Path("reports")


def main(name: str | None, params: Params) -> None:
    """Writes the report of all experiments; needs none of their outputs to be there."""
    results = [read_results(params, experiment, Path()) for experiment in params.experiments]
    tracking = address_of(params.tracking)
    FOLDER.mkdir(exist_ok=True)
    write(FOLDER / "index.html", page(results, params, commit(), tracking.shown if tracking.remote else None))
    write(FOLDER / "summary.md", summary(results))
    print(f"report: {len(results)} experiments in {FOLDER / 'index.html'}, in short in {FOLDER / 'summary.md'}")


def write(path: Path, text: str) -> None:
    """Replaces the file in one step, so that nobody ever reads half of it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8", newline="\n")
    os.replace(unfinished, path)


def commit() -> str | None:
    """The commit of the code in short, with a mark if the tree has changes; None outside of git."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty= and changes", "--exclude=*"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None
