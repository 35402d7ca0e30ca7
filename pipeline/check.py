"""params.yaml against what the rooms offer: names of tasks, formats, families, architectures and their parameters.

It stands beside the stages and cannot change an output, so no stage depends on it in dvc.yaml.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.params import ParamsError, nearest, problems, read_raw, report


def check(path: str | Path = "params.yaml") -> None:
    """Raises ParamsError with every problem of the file at once."""
    raw = read_raw(path)
    found = problems(raw)
    seen = {line.split(":")[0] for line in found}
    found += [line for line in _unknown_names(raw) if line.split(":")[0] not in seen]
    if found:
        raise ParamsError(report(path, found))


def _unknown_names(raw: Mapping[str, Any]) -> Iterator[str]:
    experiments = _sections(raw.get("experiments"))
    for name, entry in experiments.items():
        yield from _experiment(f"experiments.{name}", entry)
    for name, entry in _sections(raw.get("candidates")).items():
        yield from _candidate(f"candidates.{name}", entry, experiments.get(entry.get("experiment", ""), {}))


def _experiment(path: str, entry: Mapping[str, Any]) -> Iterator[str]:
    from pipeline.data.formats import FORMATS
    from pipeline.tasks import TASKS, load_task, task_type

    data = entry.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("format"), str):
        if data["format"] in FORMATS:
            yield from _format(f"{path}.data", data, FORMATS[data["format"]])
        else:
            yield f"{path}.data.format: found {data['format']!r}; {nearest(data['format'], FORMATS)}"
    if not isinstance(entry.get("task"), str):
        return
    if entry["task"] not in TASKS:
        yield f"{path}.task: found {entry['task']!r}; {nearest(entry['task'], TASKS)}"
    elif isinstance(entry.get("settings"), Mapping):
        expected = list(task_type(entry["task"]).SETTINGS)
        wrong = list(_names(f"{path}.settings", entry["settings"], expected))
        yield from wrong
        if not wrong:
            try:
                load_task(entry["task"], entry["settings"])
            except ValueError as error:
                yield f"{path}.{error}"


def _format(path: str, data: Mapping[str, Any], function: Any) -> Iterator[str]:
    """Options and parts together fill the keyword-only arguments of the format's function."""
    options, parts = _mapping(data.get("options")), _sections(data.get("parts"))
    arguments = {p.name: p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
    needed = [name for name, argument in arguments.items() if argument.default is argument.empty]
    for place, given in [
        (f"{path}.options", options),
        *((f"{path}.parts.{part}", entry) for part, entry in parts.items()),
    ]:
        for name in given:
            if name not in arguments:
                yield f"{place}.{name}: unknown key; {nearest(name, arguments)}"
    for part, entry in parts.items():
        for name in needed:
            if name not in options and name not in entry:
                yield f"{path}.parts.{part}.{name}: missing; format `{data['format']}` needs it here or in options"


def _candidate(path: str, entry: Mapping[str, Any], experiment: Mapping[str, Any]) -> Iterator[str]:
    from pipeline.models import FAMILIES, load_family
    from pipeline.tasks import TASKS, task_type
    from pipeline.tasks.network import keyword_names
    from pipeline.training.optimisation import Optimisation

    family, task = entry.get("family"), experiment.get("task")
    if isinstance(family, str) and family not in FAMILIES:
        yield f"{path}.family: found {family!r}; {nearest(family, FAMILIES)}"
    if family not in FAMILIES or task not in TASKS or not isinstance(entry.get("parameters"), Mapping):
        return
    encoder: Any = load_family(family)
    expected = [
        *keyword_names(encoder.__init__),
        *keyword_names(task_type(task).network),
        *Optimisation.__dataclass_fields__,
    ]
    yield from _names(f"{path}.parameters", entry["parameters"], expected)
    yield from _architectures(
        f"{path}.parameters.architecture", entry["parameters"].get("architecture"), encoder.ARCHITECTURES
    )
    yield from _ranges(f"{path}.parameters", entry["parameters"], encoder.RANGES)


def _architectures(path: str, entry: Any, allowed: Iterable[str]) -> Iterator[str]:
    for name in _values(entry):
        if name not in allowed:
            yield f"{path}: found {name!r}; {nearest(str(name), allowed)}"


def _ranges(path: str, parameters: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    for name, (low, high) in ranges.items():
        for value in _values(parameters.get(name)):
            if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
                yield f"{path}.{name}: found {value!r}; allowed: {low} to {high}"


def _values(entry: Any) -> list[Any]:
    """The values that a parameter can take, or the ends of its range."""
    if isinstance(entry, Mapping):
        choices = entry.get("choices", [entry.get("low"), entry.get("high")])
        return [value for value in choices if value is not None] if isinstance(choices, list) else []
    return [] if entry is None else [entry]


def _names(path: str, given: Mapping[str, Any], expected: list[str]) -> Iterator[str]:
    for name in given:
        if name not in expected:
            yield f"{path}.{name}: unknown key; {nearest(str(name), expected)}"
    for name in expected:
        if name not in given:
            yield f"{path}.{name}: missing; add it"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sections(value: Any) -> dict[str, Mapping[str, Any]]:
    return {str(name): entry for name, entry in _mapping(value).items() if isinstance(entry, Mapping)}
