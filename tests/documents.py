"""A params.yaml as dictionaries, changed in one place."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]
MISSING = "(nothing)"  # a value of its own, so that names of tests stay the same


def changed(document: Document, place: str, value: Any) -> Document:
    """The document with another value (or none) at a place such as gate/margin."""
    *way, last = place.split("/")
    section = document
    for key in way:
        section = section[key]
    if value is MISSING:
        del section[last]
    else:
        section[last] = value
    return document
