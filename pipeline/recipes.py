"""Recipes: ready experiments that are merged into params.yaml as text, so that every comment on both sides stays."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.params import Params, ParamsError, nearest, read_raw, report
from pipeline.problems import problems

RECIPES = Path("recipes")
SECTIONS = ("downloads", "experiments", "candidates")
logger = logging.getLogger(__name__)


def available() -> dict[str, str]:
    """Lists the recipes by name, each with its first line, which describes it."""
    files = sorted(RECIPES.glob("*.yaml"))
    return {file.stem: file.read_text(encoding="utf-8").split("\n")[0].lstrip("# ") for file in files}


def recipe_with(experiment: str) -> str | None:
    """Returns the recipe that brings an experiment."""
    return next((name for name in available() if experiment in read_raw(_source(name)).get("experiments", {})), None)


def merge(name: str, target: Path = Path("params.yaml")) -> list[str]:
    """Writes a recipe's entries into the file and returns their paths; those that are there already are left alone.

    Raises ParamsError if an entry of the same name differs.
    """
    source, recipe, raw = _source(name), read_raw(_source(name)), read_raw(target)
    lines, template, added = _lines(target), _lines(source), []
    for section in SECTIONS:
        for key, entry in recipe.get(section, {}).items():
            present = (raw.get(section) or {}).get(key)
            if present is None:
                start, end = _entry(template, section, key, source)
                lines = _with_entry(lines, section, template[start:end])
                added.append(f"{section}.{key}")
            elif present != entry:
                raise ParamsError(
                    f"{target}: {section}.{key} stands there already and differs from {source}; "
                    "rename or remove it first"
                )
    _replace(target, lines, _merged(raw, recipe))
    return added


def take_out(name: str, target: Path = Path("params.yaml")) -> list[str]:
    """Removes a recipe's entries from the file, edited or not, and returns their paths.

    A download stays, with a word about it, while an experiment that stays reads it.
    """
    recipe, raw = read_raw(_source(name)), read_raw(target)
    lines, removed = _lines(target), []
    left = {section: dict(raw.get(section) or {}) for section in SECTIONS}
    for section in reversed(SECTIONS):  # what reads a download before the download
        for key in recipe.get(section, {}):
            reader = _reader(key, left["experiments"]) if section == "downloads" else None
            if reader is not None:
                logger.warning("%s.%s stays: the experiment %s reads it", section, key, reader)
            elif key in left[section]:
                del left[section][key]
                lines = _without_entry(lines, section, key, target)
                removed.append(f"{section}.{key}")
    _replace(target, lines, {**raw, **left})
    return sorted(removed, key=lambda path: SECTIONS.index(path.partition(".")[0]))


def _reader(download: str, experiments: Mapping[str, Any]) -> str | None:
    """Finds an experiment whose data lie where a download puts them."""
    folder = Path("data/raw", download)
    for name, experiment in experiments.items():
        data = experiment.get("data") if isinstance(experiment, dict) else None  # the file may still be wrong
        path = Path(str(data.get("path"))) if isinstance(data, dict) else Path()
        if folder in (path, *path.parents):
            return name
    return None


def _source(name: str) -> Path:
    source = RECIPES / f"{name}.yaml"
    if name not in available():
        raise ParamsError(f"recipe: found {name}; {nearest(name, available())}")
    return source


def _lines(path: Path) -> list[str]:
    """Reads the lines of a file without their ends; the last one is empty where the file ends with a line end."""
    return path.read_text(encoding="utf-8").split("\n")


def _section(lines: list[str], section: str) -> tuple[int, int]:
    """Finds the line of `section:` and the end of what belongs to it: the line behind its last indented one."""
    head = next((row for row, line in enumerate(lines) if line.startswith(f"{section}:")), len(lines))
    following = (row for row in range(head + 1, len(lines)) if re.match(r"[A-Za-z_]+:", lines[row]))
    end = next(following, len(lines))
    while end > head + 1 and not lines[end - 1].startswith(" "):
        end -= 1  # blank lines and comments in front of the next section
    return head, end


def _entry(lines: list[str], section: str, key: str, file: Path) -> tuple[int, int]:
    """Finds first line and end of an entry: with the comments right above it, without those above the next one."""
    head, end = _section(lines, section)
    start = next((row for row in range(head + 1, end) if re.match(rf"  {re.escape(key)}:(\s|$)", lines[row])), None)
    if start is None:
        raise ParamsError(_by_hand(file))
    last = next((row for row in range(start + 1, end) if re.match(r"  [^\s#]", lines[row])), end)
    while _is_between(lines[last - 1]):
        last -= 1
    while lines[start - 1].startswith("  #"):
        start -= 1
    return start, last


def _is_between(line: str) -> bool:
    """Whether a line is between two entries: blank, or a comment at the margin of the entries."""
    return not line.strip() or line.startswith("  #")


def _with_entry(lines: list[str], section: str, entry: list[str]) -> list[str]:
    """Returns the lines with an entry at the end of a section, which is made where it is missing or empty."""
    if not any(line.startswith(f"{section}:") for line in lines):
        lines = [*lines[:-1], "", f"{section}:", ""]
    head, end = _section(lines, section)
    empty = end == head + 1
    gap = [] if empty or section == "downloads" else [""]
    header = re.sub(r"^(\w+:) (\{\}|null|~)", r"\1", lines[head]) if empty else lines[head]
    return [*lines[:head], header, *lines[head + 1 : end], *gap, *entry, *lines[end:]]


def _without_entry(lines: list[str], section: str, key: str, file: Path) -> list[str]:
    """Returns the lines without an entry and without the blank line that set it apart."""
    head, section_end = _section(lines, section)
    start, end = _entry(lines, section, key, file)
    if not lines[start - 1].strip():
        start -= 1
    elif start == head + 1 and end < section_end and not lines[end].strip():
        end += 1
    rest = [*lines[:start], *lines[end:]]
    if _section(rest, section)[1] == head + 1:
        rest[head] = rest[head].replace(":", ": {}", 1)
    return rest


def _merged(raw: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {**raw, **{section: {**(raw.get(section) or {}), **recipe.get(section, {})} for section in SECTIONS}}


def _by_hand(file: Path) -> str:
    return f"{file} is laid out in a way that cannot be edited by program; change it by hand"


def _replace(target: Path, lines: list[str], expected: Mapping[str, Any]) -> None:
    """Writes the lines if they hold exactly what is expected; line ends stay as they were."""
    text = "\n".join(lines)
    windows = b"\r\n" in target.read_bytes()
    partial = target.with_name(f".{target.name}.part")
    partial.write_text(text, encoding="utf-8", newline="\r\n" if windows else "\n")
    try:
        written = read_raw(partial)
        if _filled(written) != _filled(expected):
            raise ParamsError(_by_hand(target))
        wrong = [line for line in problems(written, Params) if "at least 1 entry" not in line]
        if wrong:
            raise ParamsError(report(target, wrong))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _filled(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Adds an empty mapping for each section that is missing or null."""
    return {**raw, **{section: raw.get(section) or {} for section in SECTIONS}}
