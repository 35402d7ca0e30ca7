"""Recipes: ready experiments that are merged into params.yaml as text, so that every comment on both sides stays."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.params import Params, ParamsError, nearest, read_raw, report
from pipeline.problems import problems

RECIPES = Path("recipes")
SECTIONS = ("downloads", "experiments", "candidates")


def available() -> dict[str, str]:
    """Names of the recipes and the first line of each, which says what it is."""
    files = sorted(RECIPES.glob("*.yaml"))
    return {file.stem: file.read_text(encoding="utf-8").split("\n")[0].lstrip("# ") for file in files}


def merge(name: str, target: Path = Path("params.yaml")) -> list[str]:
    """Writes a recipe's entries into the file and returns their paths; those that stand there already are left alone.

    Raises ParamsError if an entry of the same name says something else.
    """
    source, recipe, raw = _source(name), read_raw(_source(name)), read_raw(target)
    text, added = target.read_text(encoding="utf-8"), []
    for section in SECTIONS:
        for key, entry in recipe.get(section, {}).items():
            present = (raw.get(section) or {}).get(key)
            if present is None:
                text = _with_entry(text, section, _entries(source.read_text(encoding="utf-8"), section)[key])
                added.append(f"{section}.{key}")
            elif present != entry:
                raise ParamsError(
                    f"{target}: {section}.{key} stands there already and differs from {source}; "
                    "rename or remove it first"
                )
    _replace(target, text, _merged(raw, recipe))
    return added


def take_out(name: str, target: Path = Path("params.yaml")) -> list[str]:
    """Removes a recipe's entries from the file, edited or not, and returns their paths."""
    recipe, raw = read_raw(_source(name)), read_raw(target)
    text, removed = target.read_text(encoding="utf-8"), []
    left = {section: dict(raw.get(section) or {}) for section in SECTIONS}
    for section in SECTIONS:
        for key in recipe.get(section, {}):
            if key in left[section]:
                del left[section][key]
                text = text.replace(_entries(text, section)[key], "", 1)
                removed.append(f"{section}.{key}")
        if removed and not left[section]:
            text = re.sub(rf"^{section}:.*\n", f"{section}: {{}}\n", text, flags=re.M)
    _replace(target, text, {**raw, **left})
    return removed


def _source(name: str) -> Path:
    source = RECIPES / f"{name}.yaml"
    if not source.is_file():
        raise ParamsError(f"recipe: found {name}; {nearest(name, available())}")
    return source


def _section(text: str, section: str) -> tuple[int, int]:
    """Where the lines below `section:` begin and end."""
    start = re.search(rf"^{section}:.*\n", text, flags=re.M)
    if start is None:
        return len(text), len(text)
    following = re.search(r"^[A-Za-z_]+:", text[start.end() :], flags=re.M)
    return start.end(), start.end() + following.start() if following else len(text)


def _entries(text: str, section: str) -> dict[str, str]:
    """The entries of a section as they are written, with the comments in them."""
    start, end = _section(text, section)
    body = text[start:end]
    heads = list(re.finditer(r"^  ([^\s#:]+):", body, flags=re.M))
    ends = [*(head.start() for head in heads[1:]), len(body)]
    return {head.group(1): body[head.start() : stop].rstrip() + "\n" for head, stop in zip(heads, ends, strict=True)}


def _with_entry(text: str, section: str, entry: str) -> str:
    """The text with an entry at the end of a section, which is made where it is missing or empty."""
    text = re.sub(rf"^{section}:[ \t]*(\{{\}}|null|~)[ \t]*$", f"{section}:", text.rstrip() + "\n", flags=re.M)
    if not re.search(rf"^{section}:", text, flags=re.M):
        text += f"\n{section}:\n"
    start, end = _section(text, section)
    body = text[start:end].rstrip()
    gap = "" if not body else "\n" if section == "downloads" else "\n\n"
    after = text[end:]
    return text[:start] + body + gap + entry + ("\n" + after if after else "")


def _merged(raw: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {**raw, **{section: {**(raw.get(section) or {}), **recipe.get(section, {})} for section in SECTIONS}}


def _replace(target: Path, text: str, expected: Mapping[str, Any]) -> None:
    """Writes the text if it says exactly what is expected of it."""
    partial = target.with_name(f".{target.name}.part")
    partial.write_text(text, encoding="utf-8")
    try:
        found = read_raw(partial)
        if {**found, **{s: found.get(s) or {} for s in SECTIONS}} != {
            **expected,
            **{s: expected.get(s) or {} for s in SECTIONS},
        }:
            raise ParamsError(
                f"{target} is laid out in a way that cannot be edited by program; merge the recipe by hand"
            )
        wrong = [line for line in problems(found, Params) if "at least 1 entry" not in line]
        if wrong:
            raise ParamsError(report(target, wrong))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
