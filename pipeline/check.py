"""Checks params.yaml against what the rooms offer: tasks, formats, families, architectures and their parameters.

It runs next to the stages and cannot change an output, so no stage depends on it in dvc.yaml.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pipeline.params import Candidate, Experiment, Params, ParamsError, Trainer, nearest, read_raw, report
from pipeline.problems import expected, problems, shown
from pipeline.scope import OF_NONE, SECTIONS, Entries, at_hand, entry_of, without

logger = logging.getLogger(__name__)

PARTS = ("all", "train", "validation", "test")
# Arguments of Lightning's Trainer that come from other parts of params.yaml or that the pipeline needs for itself.
OWN = (
    "max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "gradient_clip_val", "gradient_clip_algorithm",
    "callbacks", "logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary",
    "num_sanity_val_steps", "use_distributed_sampler", "default_root_dir", "fast_dev_run", "model_registry",
)  # fmt: skip


class WithoutExperiments(Params):
    """Parameters for commands that work with no experiment: there need not be one."""

    experiments: dict[str, Experiment]
    candidates: dict[str, Candidate]


def check(path: str | Path = "params.yaml") -> None:
    """Raises ParamsError with every problem of the file at once."""
    faults = _problems(read_raw(path))
    if faults:
        raise ParamsError(report(path, faults))


def usable(stage: str, name: str | None, path: str | Path = "params.yaml", *, names: bool = True) -> Params:
    """Returns the parameters for a stage, without the experiments that are faulty and that it does not work with.

    Raises ParamsError with all problems of what it works with, or of what concerns all; others are logged as a warning.
    `names`: also looks up names of tasks, formats, architectures and their parameters.
    """
    raw = read_raw(path)
    entries = {line: entry_of(line, raw) for line in _problems(raw, names)}
    wanted = at_hand(raw, stage, name)
    stopping = [line for line, entry in entries.items() if entry is None or wanted is None or entry in wanted]
    if stopping:
        raise ParamsError(report(path, stopping))
    if stage in OF_NONE:
        return WithoutExperiments.model_validate({**raw, **{section: {} for section in SECTIONS}})
    rest, gone = without(raw, (entry for entry in entries.values() if entry is not None))
    if not rest["experiments"] or not rest["candidates"]:
        raise ParamsError(report(path, list(entries)))
    if entries:
        logger.warning(_left_out(path, len(entries), gone))
    return Params.model_validate(rest)


def _problems(raw: Mapping[str, Any], names: bool = True) -> list[str]:
    faults = problems(raw, Params)
    seen = {line.split(":")[0] for line in faults}
    return faults + [line for line in _unknown_names(raw) if line.split(":")[0] not in seen] if names else faults


def _left_out(path: str | Path, count: int, gone: Entries) -> str:
    places = sorted(gone.experiments or gone.candidates | gone.downloads)
    return (
        f"{path} has {count} problem{'s' if count > 1 else ''} in {', '.join(places)}, which this command leaves out; "
        "`python -m pipeline check` names them"
    )


def _unknown_names(raw: Mapping[str, Any]) -> Iterator[str]:
    yield from _trainer(_mapping(raw.get("trainer")))
    yield from _storage(_mapping(raw.get("study")).get("storage"))
    experiments = _sections(raw.get("experiments"))
    for name, entry in experiments.items():
        yield from _experiment(f"experiments.{name}", entry)
    for name, entry in _sections(raw.get("candidates")).items():
        yield from _candidate(f"candidates.{name}", entry, experiments.get(str(entry.get("experiment")), {}))


def _trainer(trainer: Mapping[str, Any]) -> Iterator[str]:
    """Checks names that only Lightning knows; it is imported, which takes seconds, where one of them is used."""
    options = _mapping(trainer.get("options"))
    strategy = trainer.get("strategy")
    if not options and (strategy == "auto" or not isinstance(strategy, str)):
        return
    from pytorch_lightning import Trainer as LightningTrainer
    from pytorch_lightning.strategies import StrategyRegistry

    known = [
        name for name in inspect.signature(LightningTrainer).parameters if name not in (*OWN, *Trainer.model_fields)
    ]
    yield from (f"trainer.options.{name}: unknown key; {nearest(name, known)}" for name in options if name not in known)
    strategies = ["auto", *StrategyRegistry.available_strategies()]
    if isinstance(strategy, str) and strategy not in strategies:
        yield f"trainer.strategy: found {strategy!r}; {nearest(strategy, strategies)}"


def _storage(uri: object) -> Iterator[str]:
    from pipeline.search.storage import parse

    if isinstance(uri, str):
        try:
            parse(uri, "study.storage", Path.cwd())
        except ValueError as error:
            yield str(error)


def _experiment(path: str, entry: Mapping[str, Any]) -> Iterator[str]:
    from pipeline.formats import FORMATS
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
    """Checks options and parts, which together fill the keyword-only arguments of the format's function."""
    options = _mapping(data.get("options"))
    parts = {part: entry for part, entry in _sections(data.get("parts")).items() if part in PARTS}
    arguments = {p.name: p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}
    needed = [name for name, argument in arguments.items() if argument.default is argument.empty]
    hints = get_type_hints(function)
    places = [(f"{path}.options", options), *((f"{path}.parts.{part}", entry) for part, entry in parts.items())]
    for place, section in places:
        for name, value in section.items():
            if name not in arguments:
                yield f"{place}.{name}: unknown key; {nearest(name, arguments)}"
            else:
                yield from _typed(f"{place}.{name}", [value], hints[name])
    for part, entry in parts.items():
        for name in needed:
            if name not in options and name not in entry:
                yield f"{path}.parts.{part}.{name}: missing; format `{data['format']}` needs it here or in options"


def _candidate(path: str, entry: Mapping[str, Any], experiment: Mapping[str, Any]) -> Iterator[str]:
    from pipeline.models import FAMILIES, load_family
    from pipeline.tasks import TASKS, task_type
    from pipeline.tasks.baselines import BASELINES, GUESSES
    from pipeline.training.optimisation import Optimisation

    family, task = entry.get("family"), experiment.get("task")
    name = path.partition(".")[2]
    for kind, names in (("baseline", BASELINES), ("guess", GUESSES)):
        if name.casefold() in names.get(str(task), ()):  # some disks take both for one folder
            yield f"{path}: {name} is the name of a {kind} of {task}, evaluated beside it; rename the candidate"
    if isinstance(family, str) and family not in FAMILIES:
        yield f"{path}.family: found {family!r}; {nearest(family, FAMILIES)}"
    if not (isinstance(family, str) and family in FAMILIES and isinstance(task, str) and task in TASKS):
        return
    parameters = entry.get("parameters")
    if not isinstance(parameters, Mapping):
        return
    encoder: Any = load_family(family)
    types = _keyword_types(encoder.__init__) | _keyword_types(task_type(task).network) | get_type_hints(Optimisation)
    yield from _names(f"{path}.parameters", parameters, list(types))
    for name in (name for name in parameters if name in types):
        yield from _typed(f"{path}.parameters.{name}", _values(parameters[name]), types[name])
    presets = list(encoder.PRESETS if task_type(task).dimensions == 2 else ())
    allowed = [*encoder.ARCHITECTURES, *presets]
    yield from _architectures(f"{path}.parameters.architecture", parameters.get("architecture"), allowed)
    plain = [name for name in _values(parameters.get("architecture")) if name not in presets]
    if entry.get("weights") is not None and plain:
        yield f"{path}.weights: found beside the architecture {plain[0]}; {_for_presets(presets)}"
    yield from _ranges(f"{path}.parameters", parameters, {**encoder.RANGES, **task_type(task).RANGES})
    for name in get_type_hints(Optimisation):
        yield from _accepted(f"{path}.parameters", _values(parameters.get(name)), name, Optimisation)


def _for_presets(presets: Iterable[str]) -> str:
    names = ", ".join(presets)
    return f"allowed: with {names} only" if names else "allowed: for pictures and the family cnn only; remove it"


def _keyword_types(function: Any) -> dict[str, Any]:
    """Returns the types of a function's keyword-only arguments, by their names."""
    from pipeline.tasks.network import keyword_names

    hints = get_type_hints(function)
    return {name: hints[name] for name in keyword_names(function)}


def _typed(path: str, values: Iterable[Any], hint: Any) -> Iterator[str]:
    """Yields a complaint about each value that is not of a type; a whole number counts as a number."""
    adapter = TypeAdapter(hint, config=ConfigDict(strict=True))
    for value in values:
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            item = dict(error.errors()[0])
            if item["type"] == "literal_error":
                yield f"{path}: found {shown(value)}; {nearest(str(value), hint.__args__)}"
            else:
                yield f"{path}: found {shown(value)}; allowed: {expected(item)}"


def _accepted(path: str, values: Iterable[Any], name: str, section: Callable[..., Any]) -> Iterator[str]:
    """Yields the complaint of the object that uses a number; the other numbers are zero for the moment."""
    for value in (value for value in values if _is_number(value)):
        try:
            section(**{**dict.fromkeys(get_type_hints(section), 0.0), name: value})
        except ValueError as error:
            yield f"{path}.{error}"


def _architectures(path: str, entry: Any, allowed: Iterable[str]) -> Iterator[str]:
    for name in _values(entry):
        if isinstance(name, str) and name not in allowed:
            yield f"{path}: found {name!r}; {nearest(name, allowed)}"


def _ranges(path: str, parameters: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    for name, (low, high) in ranges.items():
        for value in _values(parameters.get(name)):
            if _is_number(value) and not low <= value <= high:
                yield f"{path}.{name}: found {value!r}; allowed: {low} to {high}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _values(entry: Any) -> list[Any]:
    """Returns the values that a parameter can take, or the ends of its range."""
    if isinstance(entry, Mapping):
        choices = entry.get("choices", [entry.get("low"), entry.get("high")])
        return [value for value in choices if value is not None] if isinstance(choices, list) else []
    return [] if entry is None else [entry]


def _names(path: str, section: Mapping[str, Any], expected: list[str]) -> Iterator[str]:
    for name in section:
        if name not in expected:
            yield f"{path}.{name}: unknown key; {nearest(str(name), expected)}"
    for name in expected:
        if name not in section:
            yield f"{path}.{name}: missing; add it"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sections(value: Any) -> dict[str, Mapping[str, Any]]:
    return {str(name): entry for name, entry in _mapping(value).items() if isinstance(entry, Mapping)}
