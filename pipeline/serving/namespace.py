"""Gives the code of a version a name of its own, so that versions and checkouts can share a process.

MLflow puts the code of a model in front of sys.path, where a name belongs to whoever imports it first: under the name
`pipeline` a second version, or one that is loaded in a notebook, would answer with the code of the first.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pipeline.files.digests import content_key

PACKAGE = "pipeline"
DIGITS = 12  # of the digest in a name


def write_package(sources: Mapping[str, str], target: Path) -> list[Path]:
    """Writes files `pipeline/…` as the package `pipeline_<digest of these files>` of the folder `target`.

    Returns the files. Raises ValueError for an import that cannot be moved to another name.
    """
    texts = {name: with_relative_imports(name, text) for name, text in sources.items()}
    package = target / f"{PACKAGE}_{content_key(**texts)[:DIGITS]}"
    files = {package / PurePosixPath(name).relative_to(PACKAGE): text for name, text in texts.items()}
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
    for folder in {file.parent for file in files} | {package}:
        (folder / "__init__.py").touch()
    return list(files)


@lru_cache(maxsize=1024)  # experiments of one task or family share most of their files
def with_relative_imports(name: str, text: str) -> str:
    """The text of the file `pipeline/…` as it imports its own package, whatever that is called.

    Raises ValueError that names the line for any other import of the package, such as `import pipeline.data`.
    """
    lines = text.encode().split(b"\n")  # Python counts the columns of a line in bytes
    dots = b"." * (len(PurePosixPath(name).parts) - 1)
    places = [(node.lineno - 1, node.col_offset) for node in _absolute_imports(text)]
    for row, column in sorted(places, reverse=True):  # from the end, so that the places before it stay
        rest = re.sub(rb"^from[ \t]+pipeline\b\.?", b"from " + dots, lines[row][column:])
        lines[row] = lines[row][:column] + rest
    moved = b"\n".join(lines).decode()
    for left in _absolute_imports(moved):
        raise ValueError(
            f"{name}, line {left.lineno}: found `{ast.unparse(left)}`; a version's code takes another name than "
            f"`{PACKAGE}`: write `from {PACKAGE}.… import …`"
        )
    return moved


def _absolute_imports(text: str) -> Iterator[ast.Import | ast.ImportFrom]:
    """Statements that import the package by its name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        if any(name.partition(".")[0] == PACKAGE for name in names):
            yield node
