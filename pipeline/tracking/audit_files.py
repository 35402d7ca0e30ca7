"""Compares the outputs that lie here, and DVC's cache, with dvc.lock, byte for byte. It reads only."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.tracking.audit import Difference
from pipeline.tracking.dvc_lock import PIPELINES, LockedOutput, locked_outputs, md5_of

COPY = "copy in DVC's cache of "
ALWAYS = ("register", "report")  # stages that run every time; what they write is no result


@dataclass(frozen=True)
class Output(LockedOutput):
    """`cached`: whether DVC keeps a copy, or Git does."""

    cached: bool


def file_differences(root: Path) -> Iterator[Difference]:
    """Raises ValueError where DVC cannot be asked."""
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    with _told_in_a_sentence(), Repo(str(root)) as repo:
        outputs = _outputs(root)
        if not outputs:
            yield Difference("dvc.lock", "knows no outputs", "`dvc repro`")
        differences = [entry for output in outputs for entry in _output(output, root, Path(repo.cache.local.path))]
        yield from differences
        if any(entry.about.startswith(COPY) and not entry.found.startswith("missing") for entry in differences):
            yield Difference(
                "stages", "not looked at: `dvc status` removes damaged copies from the cache", matters=False
            )
        else:
            yield from _stages(repo.status(), {output.path for output in outputs})


def _output(output: Output, root: Path, cache: Path) -> Iterator[Difference]:
    """One output: its files here, then their copies in the cache."""
    wanted = _listing(output, cache)
    if wanted is None:
        mend = f"`dvc fetch {output.path}`, or `dvc commit -f {output.stage}` where the output is right"
        yield Difference(output.path, "DVC's cache has no sound list of its files", mend)
        return
    damaged = {name: _damage(_place(cache, md5), md5) for name, md5 in wanted.items()} if output.cached else {}
    damaged = {name: fault for name, fault in damaged.items() if fault}
    broken = set()
    for name, md5 in wanted.items():
        file = root / output.path / name
        fault = _damage(file, md5)
        if fault:
            broken.add(name)
            yield Difference(_named(output, name), fault, _mend_of_output(output, name in damaged))
    for name in sorted(_present(root / output.path) - set(wanted)):
        yield Difference(_named(output, name), "dvc.lock does not know it", f"`dvc checkout -f {output.path}`")
    for name, fault in damaged.items():
        place = _place(cache, wanted[name])
        again = f"dvc repro -f -s {output.stage}" if name in broken else f"dvc commit -f {output.stage}"
        removed = "" if fault == "missing" else f"`rm -f {place}` and "
        yield Difference(f"{COPY}{_named(output, name)}", fault, f"{removed}`{again}`")


def _mend_of_output(output: Output, damaged: bool) -> str:
    if output.cached and not damaged:
        return f"`dvc checkout -f {output.path}`"
    return f"`dvc repro {output.stage}`"


def _stages(status: Mapping[str, Any], outputs: set[str]) -> Iterator[Difference]:
    """Stages that DVC would run again, and why. Their outputs were looked at already.

    Whether other pipelines than the one of the root are up to date is told, but does not matter to it.
    """
    for address, changes in status.items():
        prefix = next((start for start in PIPELINES.values() if start and address.startswith(start)), "")
        stage = prefix + address.rpartition("dvc.yaml:")[2]
        mend, matters = f"`dvc repro {prefix}".rstrip(" :") + "`", not prefix
        if stage in ALWAYS:
            continue
        for change in changes:
            if change == "changed command":
                yield Difference(f"stage {stage}", "its command has changed", mend, matters)
                continue
            for kind, paths in change.items() if isinstance(change, Mapping) else ():
                for path, how in paths.items():
                    if kind == "changed outs" and path in outputs:
                        continue
                    yield Difference(f"stage {stage}", f"{path}: {_words(how)}", mend, matters)


def _words(how: Any) -> str:
    """Returns how DVC calls a change; parameters are listed by their names."""
    if isinstance(how, Mapping):
        return ", ".join(f"{name} {word}" for name, word in how.items())
    return str(how)


@contextmanager
def _told_in_a_sentence() -> Iterator[None]:
    """Raises what DVC raises as a ValueError."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    try:
        yield
    except LockError:
        raise ValueError("another DVC command is running here; audit when it has ended") from None
    except DvcException as error:
        raise ValueError(f"DVC cannot tell the state of the files: {error}") from None


def _outputs(root: Path) -> list[Output]:
    """Outputs of the stages that dvc.yaml still has."""
    from ruamel.yaml import YAML

    outputs, locked = [], locked_outputs(root)
    bodies: dict[str, Any] = {}
    for folder, prefix in PIPELINES.items():
        if locked and (root / folder / "dvc.yaml").is_file():
            stages = YAML(typ="safe").load(root / folder / "dvc.yaml")["stages"]
            bodies |= {f"{prefix}{name}": body for name, body in stages.items()}
    for output in locked:
        name, _, key = output.stage.partition("@")
        if name in bodies and output.stage not in ALWAYS:
            cached = output.path not in _uncached(bodies[name], key)
            outputs.append(Output(**vars(output), cached=cached))
    return outputs


def _uncached(body: Mapping[str, Any], key: str) -> set[str]:
    """Outputs of a stage that dvc.yaml gives `cache: false`."""
    body = body.get("do", body)
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in body.get(kind, [])]
    options = {path: settings for entry in entries if isinstance(entry, Mapping) for path, settings in entry.items()}
    return {path.replace("${key}", key) for path, settings in options.items() if settings.get("cache") is False}


def _listing(output: Output, cache: Path) -> dict[str, str] | None:
    """Path → md5 of the files of an output; of a single file the path is empty. None for a damaged list."""
    if not output.md5.endswith(".dir"):
        return {"": output.md5}
    file = _place(cache, output.md5)
    if _damage(file, output.md5.removesuffix(".dir")):
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(file.read_text(encoding="utf-8"))}


def _place(cache: Path, md5: str) -> Path:
    return cache / md5[:2] / md5[2:]


def _damage(file: Path, md5: str) -> str:
    """Returns what is wrong with a file; empty where its bytes are the right ones."""
    if not file.is_file():
        return "missing"
    actual = md5_of(file)
    return "" if actual == md5 else f"its md5 is {actual} instead of {md5}"


def _present(place: Path) -> set[str]:
    if not place.is_dir():
        return set()
    return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def _named(output: Output, name: str) -> str:
    return f"{output.path}/{name}" if name else output.path
