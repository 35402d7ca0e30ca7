"""params.yaml as frozen, typed objects. Types, ranges and messages stand here; the values stand in the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[^./\\][^/\\]*$")]
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Scalar = bool | int | float | str


class ParamsError(ValueError):
    """A user's mistake: shown as it is, without a traceback, with exit code 2."""


class Section(BaseModel):
    """A part of params.yaml: frozen, and without room for keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Trainer(Section):
    """Goes to `pytorch_lightning.Trainer` as it stands; further arguments of the Trainer are allowed."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    accelerator: str
    devices: int | str | list[int]
    num_nodes: Positive
    strategy: str
    precision: str | int

    @property
    def distributed(self) -> bool:
        """Whether one fit spans several devices, so that fits cannot stand side by side."""
        return self.devices != 1 or self.num_nodes > 1 or self.strategy != "auto"


class Tracking(Section):
    uri: str | None
    artifacts: str | None


class Evaluation(Section):
    resamples: Annotated[int, Field(ge=100)]
    confidence: Share


class Gate(Section):
    resamples: Annotated[int, Field(ge=100)]
    confidence: Share
    margin: Annotated[float, Field(ge=0)]


class Download(Section):
    url: Annotated[str, StringConstraints(pattern=r"^(https?|file|package)://.+")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    unpack: bool | None = None  # whether an archive is unpacked beside it; absent means no


class Data(Section):
    path: str
    format: str
    options: dict[str, Any]
    parts: dict[Literal["all", "train", "validation", "test"], dict[str, Any]]

    @model_validator(mode="after")
    def _parts_are_all_or_published(self) -> Data:
        if "all" in self.parts and len(self.parts) > 1:
            raise ValueError("either one part `all`, or the published parts train, validation and test")
        if "all" not in self.parts and "train" not in self.parts:
            raise ValueError("a part `all` or a part `train` is needed")
        return self


class Split(Section):
    validation: Share | None
    test: Share | None


class Pruning(Section):
    after_epochs: Positive
    quantile: Share


class Training(Section):
    """The budget of every candidate of an experiment: the same for all, or the comparison would not be fair."""

    batch_size: Positive
    trials: Positive
    generation: Positive
    trial_epochs: Positive
    pruning: Pruning | None
    epochs: Positive
    patience: Positive
    repeats: Positive


class Experiment(Section):
    description: str
    task: str
    data: Data
    split: Split
    settings: dict[str, Any]
    training: Training
    candidates: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _split_fits_the_parts(self) -> Experiment:
        parts, split = self.data.parts, self.split
        for part, share in (("validation", split.validation), ("test", split.test)):
            if part in parts and share is not None:
                raise ValueError(
                    f"split.{part}: found {share}, but this part is published and is never split again; use null"
                )
            if part not in parts and share is None:
                raise ValueError(
                    f"split.{part}: found null, but data.parts has no part `{part}`; give a share, such as 0.2"
                )
        if "all" in parts and (split.validation or 0) + (split.test or 0) >= 1:
            raise ValueError(
                f"split: found shares of {split.validation} and {split.test}, which leave nothing to train on"
            )
        return self


class Choices(Section):
    choices: Annotated[list[Scalar], Field(min_length=1)]


class Range(Section):
    low: int | float
    high: int | float
    log: bool | None = None

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low must be below high; found {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range starts above 0; found {self.low}")
        return self


def _kind_of_space(entry: Any) -> str:
    if not isinstance(entry, dict | Section):
        return "<value>"
    return (
        "<range>"
        if {"low", "high"} & set(entry if isinstance(entry, dict) else type(entry).model_fields)
        else "<choices>"
    )


Space = Annotated[
    Annotated[Choices, Tag("<choices>")] | Annotated[Range, Tag("<range>")] | Annotated[Scalar, Tag("<value>")],
    Discriminator(_kind_of_space),
]


class Candidate(Section):
    experiment: str
    task: str
    family: str
    parameters: dict[str, Space]


class Params(Section):
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    threads: Positive
    workers: Positive
    trainer: Trainer
    tracking: Tracking
    evaluation: Evaluation
    gate: Gate
    downloads: dict[Name, Annotated[dict[FileName, Download], Field(min_length=1)]]
    experiments: Annotated[dict[Name, Experiment], Field(min_length=1)]
    candidates: Annotated[dict[Name, Candidate], Field(min_length=1)]


def nearest(found: str, allowed: Iterable[str]) -> str:
    """`'gru' (did you mean …?)`-style ending of a message about a name."""
    names = list(allowed)
    match = difflib.get_close_matches(str(found), names, n=1, cutoff=0.5)
    hint = f"; did you mean `{match[0]}`?" if match else ""
    return f"allowed: {', '.join(names) or 'none'}{hint}"


def read_raw(path: str | Path = "params.yaml") -> dict[str, Any]:
    """The file as plain dictionaries. Raises ParamsError if it is missing or is not YAML."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing here; run the command in the root of the repository") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise ParamsError(
            f"{path}: found {type(document).__name__}; expected a mapping with the keys "
            + ", ".join(Params.model_fields)
        )
    return document


def load(path: str | Path = "params.yaml") -> Params:
    """Reads and checks the file. Raises ParamsError with all problems at once."""
    raw = read_raw(path)
    found = problems(raw)
    if found:
        raise ParamsError(report(path, found))
    return Params.model_validate(raw)


def report(path: str | Path, found: list[str]) -> str:
    """One message for all problems of a file."""
    return f"{path} has {len(found)} problem{'s' if len(found) > 1 else ''}:\n" + "\n".join(
        f"  {line}" for line in found
    )


def problems(raw: Mapping[str, Any]) -> list[str]:
    """What is wrong with the file: types, ranges, unknown keys, and names that do not agree."""
    try:
        Params.model_validate(raw)
        found = []
    except ValidationError as error:
        found = _described(error, raw)
    return found + _disagreements(raw)


def _described(error: ValidationError, raw: Mapping[str, Any]) -> list[str]:
    """One line for every error; of the alternatives of a union only the nearest is kept."""
    lines: dict[str, str] = {}
    for item in error.errors():
        location = [part for part in item["loc"] if not _is_union_branch(part)]
        path = ".".join(str(part) for part in location)
        lines.setdefault(path, _message(path, location, dict(item), raw))
    return list(lines.values())


_BRANCHES = {"bool", "int", "float", "str", "[key]"}


def _is_union_branch(part: int | str) -> bool:
    return isinstance(part, str) and (part in _BRANCHES or part.startswith(("<", "list[", "dict[", "function-")))


def _message(path: str, location: list[Any], item: dict[str, Any], raw: Mapping[str, Any]) -> str:
    kind, found = item["type"], item["input"]
    if kind == "extra_forbidden":
        return f"{path}: unknown key; {nearest(str(location[-1]), _siblings(location[:-1]))}"
    if kind == "missing":
        return f"{path}: missing; add it"
    if kind == "value_error":
        return f"{path}: {item['msg'].removeprefix('Value error, ')}"
    if kind == "string_pattern_mismatch":
        return f"{path}: found {_shown(found)}; allowed: text of the form {item['ctx']['pattern']}"
    expected = item["msg"].removeprefix("Input should be ")
    return f"{path}: found {_shown(found)}; allowed: {expected}"


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _siblings(location: list[Any]) -> list[str]:
    """The keys that the section at a location may have."""
    if len(location) == 4 and location[2] == "parameters":
        return ["choices, or low and high (and log)"]
    section: Any = Params
    for part in location:
        annotation = (
            section.model_fields[part].annotation if _is_section(section) and part in section.model_fields else section
        )
        section = _inner(annotation)
    return list(section.model_fields) if _is_section(section) else []


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inner(annotation: Any) -> Any:
    """The section inside `dict[Name, Section]`, `Section | None` or `Annotated[…]`."""
    if _is_section(annotation):
        return annotation
    for argument in reversed(getattr(annotation, "__args__", ())):
        inner = _inner(argument)
        if inner is not None:
            return inner if _is_section(inner) else argument
    return None


def _disagreements(raw: Mapping[str, Any]) -> list[str]:
    """Candidates name their experiment and its task a second time for dvc.yaml: both must agree."""
    experiments, candidates = raw.get("experiments"), raw.get("candidates")
    if not isinstance(experiments, Mapping) or not isinstance(candidates, Mapping):
        return []
    lines = []
    for name, entry in candidates.items():
        owner = entry.get("experiment") if isinstance(entry, Mapping) else None
        if not isinstance(owner, str):
            continue
        if owner not in experiments:
            lines.append(f"candidates.{name}.experiment: found {owner!r}; {nearest(owner, experiments)}")
        elif isinstance(experiments[owner], Mapping) and entry.get("task") != experiments[owner].get("task"):
            task = experiments[owner].get("task")
            lines.append(
                f"candidates.{name}.task: found {entry.get('task')!r}; experiment `{owner}` has the task {task!r}"
            )
    return lines + _unlisted(experiments, candidates)


def _unlisted(experiments: Mapping[str, Any], candidates: Mapping[str, Any]) -> list[str]:
    """An experiment lists its candidates, so that DVC notices when one goes: both sides must agree."""
    lines = []
    owners = {name: entry.get("experiment") for name, entry in candidates.items() if isinstance(entry, Mapping)}
    for experiment, entry in experiments.items():
        listed = entry.get("candidates") if isinstance(entry, Mapping) else None
        if not isinstance(listed, list):
            continue
        path, own = f"experiments.{experiment}.candidates", [name for name in owners if owners[name] == experiment]
        lines += [f"{path}: found {name!r}; {nearest(str(name), own)}" for name in listed if name not in own]
        lines += [
            f"{path}: candidate `{name}` is missing; add it, or remove candidates.{name}"
            for name in own
            if name not in listed
        ]
    return lines
