"""Says what is wrong with params.yaml, all of it at once, before anything runs."""

from __future__ import annotations

from pipeline.check import check
from pipeline.params import load


def main(name: str | None) -> None:
    """Raises ParamsError for a params.yaml with problems."""
    check()
    params = load()
    print(f"check: params.yaml is sound: {len(params.experiments)} experiments, {len(params.candidates)} candidates")
