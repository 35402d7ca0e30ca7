"""The pins are complete, say nothing but names and versions, and fit what pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()


def test_pins_are_names_and_versions_only() -> None:
    # A build tag such as +cpu, a hash or an address would tie the pins to one kind of machine.
    assert [line for line in LINES if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []
    assert sorted(LINES, key=str.upper) == LINES


def test_every_dependency_is_pinned_within_its_range() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in LINES)}
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    for text in project["dependencies"] + extras:
        wanted = Requirement(text)
        if wanted.name == project["name"]:
            continue  # an extra that holds others
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), text
