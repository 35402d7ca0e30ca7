"""Merges a recipe into params.yaml; comments stay."""

from __future__ import annotations

from pipeline.params import ParamsError, nearest
from pipeline.recipes import available, merge


def main(name: str | None) -> None:
    """Raises ParamsError for an unknown recipe or one that does not fit the file."""
    if name is None:
        raise ParamsError(f"name a recipe: python -m pipeline add NAME; {nearest('', available())}")
    added = merge(name)
    print(f"add: {', '.join(added) if added else 'nothing to do'} → params.yaml")
