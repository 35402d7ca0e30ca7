"""The problems of params.yaml, in sentences for the person who wrote it: where, what was found, what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.credentials import credential_in, scrubbed
from pipeline.escaping import in_one_line

BRANCHES = {"bool", "int", "float", "str", "[key]"}  # what pydantic adds to a path to tell alternatives apart
RESERVED = "differences"  # the MLflow experiment of the ten differences between the families
SPACE = "a value, {choices: […]}, or {low: …, high: …} with `log: true` or without"


def problems(raw: Mapping[str, Any], document: type[BaseModel]) -> list[str]:
    """Lists wrong types, ranges and keys, and names and numbers that do not agree. `document` describes the file."""
    try:
        document.model_validate(raw)
        faults = []
    except ValidationError as error:
        faults = described(error, document)
    seen = {line.split(":")[0] for line in faults}
    faults += [line for line in _disagreements(raw) if line.split(":")[0] not in seen]
    kept = list(_credentials(raw))
    sensitive = {line.split(": ")[0] for line in kept}  # what else is wrong with such an address would show it
    return [in_one_line(line) for line in kept] + [
        in_one_line(scrubbed(line)) for line in faults if line.split(": ")[0] not in sensitive
    ]


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Lists the names that are allowed, and the one that was probably meant."""
    names = list(allowed)
    match = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean `{match[0]}`?" if match else ""
    return f"allowed: {', '.join(names) or 'none'}{hint}"


def described(error: ValidationError, document: type[BaseModel]) -> list[str]:
    """Describes every problem in one line; of the alternatives of a union only the first is kept."""
    lines: dict[str, str] = {}
    for item in error.errors():
        location = [part for part in item["loc"] if not _is_union_branch(part)]
        path = ".".join(str(part) for part in location)
        message = _message(location, dict(item), document)
        own = re.match(r"[a-z0-9.]+: ", message)  # a check of a whole section names the part that is wrong
        lines.setdefault(path, f"{path}.{message}" if own else f"{path}: {message}")
    return list(lines.values())


def shown(value: Any) -> str:
    """Returns a value as a message shows it: null for None, and not too long."""
    text = "null" if value is None else scrubbed(repr(value))
    return text if len(text) <= 80 else text[:77] + "…"


def place_of(error: Exception) -> str:
    """Describes what is wrong and where, without the line itself, which may hold a password."""
    mark = getattr(error, "problem_mark", None)
    words = f"{getattr(error, 'context', None) or ''} {getattr(error, 'problem', '')}".strip()
    return str(error) if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {words}"


def expected(item: dict[str, Any]) -> str:
    """Describes what was expected where pydantic found an error."""
    kind, context = item["type"], item.get("ctx", {})
    if kind == "too_short":
        return f"at least {context['min_length']} entry"
    if kind in ("model_type", "dict_type"):
        return "a mapping (key: value)"
    if kind == "string_pattern_mismatch":
        return f"text of the form {context['pattern']}"
    return str(item["msg"]).removeprefix("Input should be ").replace("a valid integer", "a whole number")


def _is_union_branch(part: int | str) -> bool:
    return isinstance(part, str) and (part in BRANCHES or part.startswith(("<", "list[", "dict[", "function-")))


def _message(location: list[Any], item: dict[str, Any], document: type[BaseModel]) -> str:
    kind, entered = item["type"], item["input"]
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(str(location[-1]), _siblings(location[:-1], document))}"
    if kind == "missing":
        return "missing; add it"
    if kind == "value_error":
        return str(item["msg"]).removeprefix("Value error, ")
    if kind == "literal_error":
        names = item["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        return f"found {shown(entered)}; {nearest(str(entered), names)}"
    if _is_searched(location) and len(location) == 4:
        return f"found {shown(entered)}; allowed: {SPACE}"
    return f"found {shown(entered)}; allowed: {expected(item)}"


def _is_searched(location: list[Any]) -> bool:
    """Whether a path leads to or into candidates.<name>.parameters.<name>."""
    return len(location) >= 4 and location[0] == "candidates" and location[2] == "parameters"


def _siblings(location: list[Any], document: type[BaseModel]) -> list[str]:
    """Lists the keys that the section at a location may have."""
    if _is_searched(location):
        return ["choices, or low and high (and log)"]
    section: Any = document
    for part in location:
        known = _is_section(section) and part in section.model_fields
        section = _inner(section.model_fields[part].annotation if known else section)
    return list(section.model_fields) if _is_section(section) else []


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inner(annotation: Any) -> Any:
    """Returns the section inside `dict[Name, Section]`, `Section | None` or `Annotated[…]`."""
    if _is_section(annotation):
        return annotation
    for argument in reversed(getattr(annotation, "__args__", ())):
        inner = _inner(argument)
        if inner is not None:
            return inner if _is_section(inner) else argument
    return None


def _disagreements(raw: Mapping[str, Any]) -> Iterator[str]:
    """Compares what the file has in two places. It may be wrong in any other way at the same time."""
    experiments, candidates = _sections(raw.get("experiments")), _sections(raw.get("candidates"))
    names = [str(name) for name in raw["experiments"]] if isinstance(raw.get("experiments"), Mapping) else []
    for name, entry in candidates.items() if names else ():
        yield from _candidate(f"candidates.{name}", entry, experiments, names)
    owners = {name: entry.get("experiment") for name, entry in candidates.items()}
    for name in names:
        if name.casefold() == RESERVED:  # some disks take both for one folder
            yield f"experiments.{name}: this name belongs to the ten differences in MLflow and in the report; rename it"
    for name, entry in experiments.items():
        if isinstance(entry.get("candidates"), list):
            yield from _listed(f"experiments.{name}.candidates", entry["candidates"], name, owners)
    yield from _batches(experiments, raw.get("trainer"))


def _credentials(raw: Mapping[str, Any]) -> Iterator[str]:
    """Reports addresses with a credential: it would go to dvc.lock, DVC's cache and whoever gets the repository."""
    tracking, study = (value if isinstance(value := raw.get(name), Mapping) else {} for name in ("tracking", "study"))
    places = [
        ("tracking.uri", tracking.get("uri"), "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the whole "
         "address in MLFLOW_TRACKING_URI"),
        ("tracking.artifacts", tracking.get("artifacts"), "variables such as AWS_SECRET_ACCESS_KEY"),
        ("study.storage", study.get("storage"), "the whole address in PIPELINE_STUDY_STORAGE"),
    ]  # fmt: skip
    for name, files in _sections(raw.get("downloads")).items():
        for file, entry in _sections(files).items():
            how = "~/.netrc, PIPELINE_TOKEN_<HOST> or PIPELINE_QUERY_<HOST> (docs/data.md, Downloads)"
            places.append((f"downloads.{name}.{file}.url", entry.get("url"), how))
    for path, address, how in places:
        kind = credential_in(address) if isinstance(address, str) else None
        if kind:
            yield f"{path}: found {kind}; an address in params.yaml holds no credentials, keep them outside: {how}"


def _candidate(
    path: str, entry: Mapping[str, Any], experiments: Mapping[str, Mapping[str, Any]], names: list[str]
) -> Iterator[str]:
    """Checks the experiment and its task, which candidates name a second time for dvc.yaml."""
    owner = entry.get("experiment")
    if not isinstance(owner, str):
        return
    if owner not in experiments:
        if owner not in names:
            yield f"{path}.experiment: found {owner!r}; {nearest(owner, names)}"
        return
    task = experiments[owner].get("task")
    if entry.get("task") != task:
        yield f"{path}.task: found {entry.get('task')!r}; allowed: {task}, which is the task of experiment `{owner}`"


def _listed(path: str, listed: list[Any], experiment: str, owners: Mapping[str, Any]) -> Iterator[str]:
    """Checks the candidates that an experiment lists, so that DVC notices when one is removed."""
    own = [name for name, owner in owners.items() if owner == experiment]
    for name in dict.fromkeys(str(name) for name in listed):
        if name in owners and name not in own:
            yield f"{path}: found {name!r}, but candidates.{name}.experiment is {owners[name]!r}"
        elif name not in own:
            yield f"{path}: found {name!r}; {nearest(name, own)}"
        if listed.count(name) > 1:
            yield f"{path}: found {name!r} {listed.count(name)} times; allowed: once"
    for name in own:
        if name not in listed:
            yield f"{path}: candidate `{name}` is missing; add it, or remove candidates.{name}"


def _batches(experiments: Mapping[str, Mapping[str, Any]], trainer: Any) -> Iterator[str]:
    """Checks that the processes can share a global batch; what `auto` and -1 mean is known only on the machine."""
    devices, nodes = (
        (trainer.get(name) for name in ("devices", "num_nodes")) if isinstance(trainer, Mapping) else (1, 1)
    )
    devices = len(devices) if isinstance(devices, list) else devices
    if not (type(devices) is int and type(nodes) is int and devices > 0 and nodes > 0):
        return
    count = devices * nodes
    for name, entry in experiments.items():
        size = entry["training"].get("batch_size") if isinstance(entry.get("training"), Mapping) else None
        if type(size) is int and size % count:
            yield (
                f"experiments.{name}.training.batch_size: found {size}, which {count} processes (trainer.devices × "
                f"num_nodes) cannot share evenly; allowed: a multiple of {count}, such as {(size // count + 1) * count}"
            )


def _sections(value: Any) -> dict[str, Mapping[str, Any]]:
    """Returns the entries of a mapping that are mappings themselves."""
    entries = value.items() if isinstance(value, Mapping) else ()
    return {str(name): entry for name, entry in entries if isinstance(entry, Mapping)}
