"""The code that a result comes from: the files that a module imports, and one digest of them."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from pipeline.files.digests import content_key, file_digest

ROOT = Path(__file__).resolve().parents[2]

# They cannot change an output: the first hold types, checks and what messages show, tracking/ only watches.
EXEMPT = (
    "pipeline/params.py",
    "pipeline/problems.py",
    "pipeline/credentials.py",
    "pipeline/escaping.py",
    "pipeline/tracking/",
)


def import_closure(*starts: str, root: Path = ROOT, whole_tasks: bool = False) -> list[str]:
    """Lists files of this package that the given files import, directly or not, relative to the repository, sorted.

    Imports inside functions count, but for those of a task: its `prepare`, `pictures` and `answer` belong to one stage
    each, which names what they need; `whole_tasks` counts them, too. Imports under `if TYPE_CHECKING` do not run.
    Tables of names (TASKS, FAMILIES) are not followed: a stage names the task and the family that it works with.
    """
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        file = waiting.pop()
        if file in seen or file.startswith(EXEMPT):
            continue
        seen.add(file)
        waiting += _imports(file, root, functions=whole_tasks or not file.startswith("pipeline/tasks/"))
    return sorted(seen)


def sources(stage: str, task: str, family: str) -> list[str]:
    """Lists the files from which the imports of a candidate's stage start."""
    return [f"pipeline/stages/{stage}.py", f"pipeline/tasks/{task}/task.py", f"pipeline/models/{family}/encoder.py"]


def code_digest(*starts: str, root: Path = ROOT) -> str:
    """Computes one digest of the sources that the given files import, directly or not."""
    return content_key(**{file: file_digest(root / file) for file in import_closure(*starts, root=root)})


def _imports(file: str, root: Path, functions: bool) -> Iterable[str]:
    for name in _modules((root / file).read_text(encoding="utf-8"), functions):
        yield from _files_of(name, root)


@lru_cache(maxsize=1024)  # of texts, so that an edited file is read again; one command asks for many closures
def _modules(text: str, functions: bool) -> tuple[str, ...]:
    """Lists names of this package that a source imports; a name may be a module or something in it."""
    names: list[str] = []
    for node in _running_nodes(ast.parse(text), functions):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in dict.fromkeys(names) if name.split(".")[0] == "pipeline")


def _running_nodes(tree: ast.AST, functions: bool) -> Iterable[ast.AST]:
    """Yields all nodes but those under `if TYPE_CHECKING` and, unless `functions`, those inside functions."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.FunctionDef) and not functions:
            continue
        yield child
        yield from _running_nodes(child, functions)


def _files_of(module: str, root: Path) -> Iterable[str]:
    """Yields the file of a module and the `__init__.py` of the packages around it, where they hold code."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        base = Path(*parts[:end])
        for candidate in (base.with_suffix(".py"), base / "__init__.py"):
            path = root / candidate
            if path.is_file() and (candidate.name != "__init__.py" or _holds_code(path.read_text(encoding="utf-8"))):
                yield candidate.as_posix()


@lru_cache(maxsize=1024)
def _holds_code(text: str) -> bool:
    return any(not isinstance(node, ast.Expr) for node in ast.parse(text).body)
