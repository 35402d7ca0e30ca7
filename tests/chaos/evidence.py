"""What a pipeline has left: bytes in files and history in MLflow; and in which points two of them differ."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

OUTPUTS = ("data", "search", "models", "evaluation", "metrics")
MEASURED = ("_seconds", "latency")  # figures that belong to the world: no two runs agree in them
TAGS = ("pipeline.key", "pipeline.kind", "pipeline.candidate", "pipeline.state", "pipeline.architecture")
VERSION_TAGS = ("pipeline.decision", "pipeline.candidate", "pipeline.key", "pipeline.against")
CLOSE = 1e-6  # tables hold fewer digits than the journals that a live run streams from


@dataclass(frozen=True)
class Evidence:
    """All that an undisturbed run and a disturbed one must have in common."""

    lock: Mapping[str, Any]  # DVC appends stages as they end, in no order where they need nothing of each other
    files: Mapping[str, str]  # path → SHA-256
    record: Mapping[str, Any]  # of reports/registry.json, without times
    work: list[str]  # what lies in .work: nothing of a completed stage
    runs: Mapping[str, Mapping[str, Any]]  # by content key
    keys: Mapping[str, int]  # how many runs have a key
    registry: Mapping[str, Any]


def gathered(folder: Path, database: Path | None = None) -> Evidence:
    """The evidence of a clone; `database` is MLflow's, where that is not in the clone."""
    database = database or folder / "mlflow.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
        store.row_factory = sqlite3.Row
        keys = _tags(store, "pipeline.key")
        runs = {keys[run["run_uuid"]]: _run(store, run, keys) for run in _active(store) if run["run_uuid"] in keys}
        registry = _registry(store)
    counted = Counter(keys[run] for run in keys)
    paths = sorted(path for name in OUTPUTS for path in folder.joinpath(name).rglob("*") if path.is_file())
    return Evidence(
        lock=yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8")),
        files={path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths},
        record=_record(folder / "reports" / "registry.json"),
        work=sorted(path.name for path in folder.glob(".work/*")),
        runs=runs,
        keys=counted,
        registry=registry,
    )


def differences(expected: Any, found: Any, where: str = "") -> Iterator[str]:
    """One sentence for every value that differs."""
    if isinstance(expected, Evidence):
        expected, found = vars(expected), vars(found)
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name in sorted({*expected, *found}, key=str):
            inner = f"{where} → {name}" if where else str(name)
            if name not in found or name not in expected:
                yield f"{inner}: {'missing' if name not in found else 'should not be there'}"
            else:
                yield from differences(expected[name], found[name], inner)
    elif not _same(expected, found):
        if isinstance(expected, list) and isinstance(found, list):
            more, fewer = _beyond(found, expected), _beyond(expected, found)
            yield f"{where}: {len(more)} too many {_short(more)}, {len(fewer)} missing {_short(fewer)}"
        else:
            yield f"{where}: {_short(found)} instead of {_short(expected)}"


def _beyond(first: list[Any], second: list[Any]) -> list[Any]:
    """What the first list holds and the second does not, or not so often."""
    left = list(second)
    beyond = []
    for value in first:
        at = next((index for index, other in enumerate(left) if _same(value, other)), None)
        if at is None:
            beyond.append(value)
        else:
            del left[at]
    return beyond


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=CLOSE, abs_tol=CLOSE)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        return all(map(_same, first, second))
    return bool(first == second)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"


def _active(store: sqlite3.Connection) -> list[sqlite3.Row]:
    return store.execute("select run_uuid, status from runs where lifecycle_stage = 'active'").fetchall()


def _tags(store: sqlite3.Connection, name: str) -> dict[str, str]:
    asked = "select t.run_uuid, t.value from tags t join runs r using (run_uuid) "
    return dict(map(tuple, store.execute(asked + "where key = ? and lifecycle_stage = 'active'", (name,))))


def _run(store: sqlite3.Connection, run: sqlite3.Row, keys: Mapping[str, str]) -> dict[str, Any]:
    """Status, parent, parameters, tags and every point, doubled ones as often as they are there."""
    own = (run["run_uuid"],)
    tags = dict(map(tuple, store.execute("select key, value from tags where run_uuid = ?", own)))
    points: dict[str, list[tuple[int, float]]] = {}
    asked = "select key, step, value from metrics where run_uuid = ? order by key, step, value"
    for name, step, value in store.execute(asked, own):
        kept = points.setdefault(name, [])
        if not _is_measured(name):  # a stage that ran again has measured again: the new value stands beside the old one
            kept.append((step, value))
    parent = tags.get("mlflow.parentRunId")
    return {
        "status": run["status"],
        "parent": parent and keys.get(parent, "a run without a key"),
        "parameters": dict(map(tuple, store.execute("select key, value from params where run_uuid = ?", own))),
        "tags": {name: tags.get(name) for name in TAGS},
        "complete": parent is not None or "pipeline.complete" in tags,
        "points": points,
        "inputs": store.execute("select count(*) from inputs where destination_id = ?", own).fetchone()[0],
    }


def _registry(store: sqlite3.Connection) -> dict[str, Any]:
    versions = {
        f"{name} {version}": {tag: _version_tag(store, name, version, tag) for tag in VERSION_TAGS} | {"status": status}
        for name, version, status in store.execute("select name, version, status from model_versions")
    }
    aliases = store.execute("select name || '@' || alias, version from registered_model_aliases")
    models = store.execute("select status, count(*) from logged_models where lifecycle_stage = 'active' group by 1")
    return {
        "versions": versions,
        "aliases": dict(map(tuple, aliases)),
        "logged models": {str(status): count for status, count in models},
    }


def _version_tag(store: sqlite3.Connection, name: str, version: int, tag: str) -> str | None:
    asked = "select value from model_version_tags where name = ? and version = ? and key = ?"
    found = store.execute(asked, (name, version, tag)).fetchone()
    return found and str(found[0])


def _record(file: Path) -> dict[str, Any]:
    """Champion, challenger and decisions of every experiment, and what still waits."""
    experiments = json.loads(file.read_text(encoding="utf-8"))["experiments"]
    return {
        name: {
            "champion": entry["champion"],
            "challenger": entry["challenger"],
            "pending": entry["pending"],
            "decisions": [
                [line["challenger"], line["promoted"], line["champion_after"], line["reason"]]
                for line in entry["history"]
            ],
        }
        for name, entry in experiments.items()
    }


def _is_measured(name: str) -> bool:
    return any(part in name for part in MEASURED)
