"""`python -m benchmarks [ROW …]`: measures and prints a table of ratios; writes nothing into the repository."""

from __future__ import annotations

import argparse
import importlib
import logging

from benchmarks.table import Figure, lines, machine

ROWS = {
    "loop": "the training loop against a bare PyTorch loop and a plain Lightning script",
    "safety": "checkpoints and journal, on and off in turn",
    "search": "tune and train of digits, both families, against plain Optuna, Lightning and MLFlowLogger",
    "gate": "how often the gate promotes models that are no better, and models that are (simulated)",
    "style": "style transfer: one pass of a network against the optimisation of the pixels",
    "points": "points of learning curves into MLflow, by the live view and from files, against MLFlowLogger",
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="rows:\n" + "\n".join(f"  {name:8} {text}" for name, text in ROWS.items()),
    )
    parser.add_argument("rows", metavar="ROW", nargs="*", help="which to measure; all without")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; the figures mean nothing")
    given = parser.parse_args(arguments)
    unknown = set(given.rows) - set(ROWS)
    if unknown:
        parser.error(f"found {', '.join(sorted(unknown))}; allowed: {', '.join(ROWS)}")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    figures: list[Figure] = []
    for name in given.rows or ROWS:
        found = importlib.import_module(f"benchmarks.{name}").measure(given.quick)
        print("\n".join([*lines(found), machine(), ""]), flush=True)
        figures += found
    return int(any(figure.verdict == "MISSED" for figure in figures) and not given.quick)


if __name__ == "__main__":
    raise SystemExit(main())
