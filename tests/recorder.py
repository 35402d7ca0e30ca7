"""Runs stages in processes of their own and notes which files of pipeline/ they load and which parameters they read.

`python tests/recorder.py STAGE:NAME …` in a folder with params.yaml prints one JSON line a stage.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOREIGN = ("pytorch_lightning", "optuna", "pandas", "pyarrow", "sklearn.svm", "matplotlib.figure", "safetensors.torch")
reads: set[str] = set()


class NotedDict(dict[str, Any]):
    """A dictionary of sections, such as `experiments`, that notes when somebody goes through all of it."""

    path = ""

    def __iter__(self) -> Iterator[str]:
        reads.add(self.path)
        return super().__iter__()

    def items(self) -> Any:
        reads.add(self.path)
        return super().items()

    def values(self) -> Any:
        reads.add(self.path)
        return super().values()


def watch(value: Any, path: str, paths: dict[int, str]) -> None:
    """Remembers where each section of params.yaml stands."""
    from pipeline.params import Section

    entries = value if isinstance(value, dict) else value.__dict__
    if isinstance(value, Section):
        paths[id(value)] = path
    for name, entry in list(entries.items()):
        place = f"{path}.{name}".lstrip(".")
        if isinstance(entry, Section | dict):
            watch(entry, place, paths)
        if place in ("downloads", "experiments", "candidates"):
            entries[name] = NotedDict(entry)
            entries[name].path = place


def note_reads(paths: dict[int, str]) -> None:
    """Every attribute of a watched section that is a value, and every section that is dumped as a whole, is a read."""
    from pipeline.params import Section

    plain, dump = Section.__getattribute__, Section.model_dump

    def attribute(self: Any, name: str) -> Any:
        value = plain(self, name)
        fields = type(self).model_fields
        if id(self) in paths and name in fields and not isinstance(value, Section | NotedDict):
            reads.add(f"{paths[id(self)]}.{name}".lstrip("."))
        return value

    def dumped(self: Any, **options: Any) -> Any:
        reads.add(paths.get(id(self), ""))
        return dump(self, **options)

    Section.__getattribute__ = attribute  # type: ignore[method-assign,assignment]
    Section.model_dump = dumped  # type: ignore[method-assign]


def record(stage: str, name: str) -> dict[str, Any]:
    """Runs a stage in this process: without tracking, and with its fits in this process too."""
    from pipeline.params import load

    module = importlib.import_module(f"pipeline.stages.{stage}")
    if hasattr(module, "live_run"):
        module.live_run = lambda *_, **__: contextlib.nullcontext()
    if hasattr(module, "open_pool"):
        pool = module.open_pool
        module.open_pool = lambda workers, *others: pool(0, *others)
    params = load()
    paths: dict[int, str] = {}
    watch(params, "", paths)
    note_reads(paths)
    module.main(name, params)
    root = Path(module.__file__ or "").resolve().parents[2]
    loaded = [Path(found.__file__) for key, found in list(sys.modules.items())
              if key.split(".")[0] == "pipeline" and getattr(found, "__file__", None)]  # fmt: skip
    return {
        "stage": stage,
        "name": name,
        "files": sorted(file.resolve().relative_to(root).as_posix() for file in loaded),
        "reads": sorted(reads),
    }


def in_child(stage: str, name: str) -> str:
    """The JSON line of a stage that ran in a forked process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                line = json.dumps(record(stage, name))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        with os.fdopen(writing, "w") as stream:
            stream.write(line)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        line = stream.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"{stage} {name} failed")
    return line


if __name__ == "__main__":
    for package in FOREIGN:  # once for all stages
        importlib.import_module(package)
    for wanted in sys.argv[1:]:
        print(in_child(*wanted.split(":")), flush=True)
