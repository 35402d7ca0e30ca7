"""What a run in MLflow shall look like, as plain data without MLflow."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.credentials import scrubbed

KEY = "pipeline.key"  # the content key by which a run is found again
KIND = "pipeline.kind"  # tune, trial, train, evaluate or difference
COMPLETE = "pipeline.complete"  # the digest of the files from which a run was completed
ARTIFACTS = "pipeline.artifacts"  # the digest over all files that a run holds

LONGEST_PARAMETER = 6000  # characters; MLflow's limit


@dataclass(frozen=True)
class Point:
    """One value of a curve; `time` in seconds since the epoch."""

    metric: str
    step: int
    value: float
    time: float


@dataclass(frozen=True)
class DataInput:
    """The data that a run has read."""

    name: str
    digest: str
    uri: str  # relative to the repository
    profile: Mapping[str, Any]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class RunSpec:
    """A run with everything that belongs to it."""

    key: str
    kind: str
    name: str
    begin: float  # seconds since the epoch
    end: float
    tags: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)  # single values; a changed one replaces the old one
    artifacts: Mapping[str, Path] = field(default_factory=dict)  # path in the run → file
    data: DataInput | None = None
    children: tuple[RunSpec, ...] = ()
    status: str = "FINISHED"


@dataclass(frozen=True)
class Planned:
    """A run whose files were hashed but not yet read: nothing more is needed where MLflow has it complete."""

    key: str
    kind: str
    name: str
    digest: str
    build: Callable[[], RunSpec]


def metric_name(text: str) -> str:
    """A name that MLflow takes: letters, digits and _-.:/ and blanks."""
    return re.sub(r"[^/\w.\- :]", "_", text)[:250]


def parameter_text(value: Any) -> str:
    """A parameter's value as text. Very long ones are cut: the whole value is in the run's files."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    text = scrubbed(text)
    return text if len(text) <= LONGEST_PARAMETER else text[: LONGEST_PARAMETER - 1] + "…"


def parameter_texts(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Parameters as MLflow takes them: nested ones under `name/`, the model's own `parameters` without a prefix."""
    texts: dict[str, str] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            texts |= parameter_texts(value, prefix if name == "parameters" else f"{prefix}{name}/")
        else:
            texts[metric_name(prefix + name)] = parameter_text(value)
    return texts


def number(value: Any) -> float | None:
    """A finite or infinite number, or None for everything else (empty cells, null, text, NaN)."""
    if isinstance(value, bool) or value is None or value == "":
        return None
    try:
        converted = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(converted) else converted
