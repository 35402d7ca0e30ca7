"""Takes a recipe out of params.yaml; comments stay."""

from __future__ import annotations

from pipeline.params import ParamsError, nearest
from pipeline.recipes import available, take_out


def main(name: str | None) -> None:
    """Raises ParamsError for an unknown recipe or one that does not fit the file."""
    if name is None:
        raise ParamsError(f"name a recipe: python -m pipeline remove NAME; {nearest('', available())}")
    removed = take_out(name)
    print(f"remove: {', '.join(removed) if removed else 'nothing to do'} → params.yaml")
