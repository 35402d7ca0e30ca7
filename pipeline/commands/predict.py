"""Asks the champion of an experiment about files: `python -m pipeline predict NAME FILE…`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.files.atomic import read_json
from pipeline.params import Params, ParamsError, nearest
from pipeline.registry.asking import Refused, answers_of, chosen_version
from pipeline.registry.shortcomings import shortcoming
from pipeline.registry.store import Version, store_with_versions
from pipeline.serving import output as rendering
from pipeline.serving.output import Answered
from pipeline.serving.rehearse import RehearsalFailed
from pipeline.tasks import load_task
from pipeline.tasks.request_files import request_of_texts
from pipeline.tasks.task import Task
from pipeline.tracking.address import Address, address_of
from pipeline.tracking.client import Unreachable, connect, reported

PREFIX = "sqlite:///"
ABOUT = "python -m pipeline predict NAME FILE…"


def main(
    name: str | None,
    params: Params,
    *,
    files: Sequence[str] = (),
    text: Sequence[str] = (),
    alias: str = "champion",
    version: str | None = None,
    format: str = "table",
    output: str | None = None,
) -> None:
    """Prints the answers, or writes them with their pictures into the folder `output`; nothing if one is missing."""
    if name not in params.experiments:
        raise ParamsError(f"experiment: found {name}; {nearest(str(name), params.experiments)} ({ABOUT})")
    if format not in rendering.FORMATS:
        raise ParamsError(f"--format: found {format}; {nearest(format, rendering.FORMATS)}")
    if output is not None:
        rendering.check_free(Path(output))
    paths = _checked(files, text)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        chosen, folder = _downloaded(address_of(params.tracking), name, alias, version, place / "version")
        described = read_json(folder / "artifacts" / "model.json")
        task = load_task(described["task"], described["settings"])
        data = params.experiments[name].data
        options = {**data.options, **next(iter(data.parts.values()))}
        requests = [task.request(path, described["card"], options) for path in paths]
        requests += [_request_of_texts(task, text)] if text else []
        names = [*map(str, paths), *([""] if text else [])]
        answers = _answers(folder, requests, names, place)
        card = described["card"]
        answered = [
            Answered(named, request, answer, task.drawings(request, answer, card))
            for named, request, answer in zip(names, requests, answers, strict=True)
        ]
    _warn(name, chosen)
    _show(answered, f"{name}, {chosen}", format, output)


def _checked(files: Sequence[str], text: Sequence[str]) -> list[Path]:
    """Returns the files, checked before anything is loaded. Raises ValueError for one that is not there."""
    if not files and not text:
        raise ParamsError(f"name files to ask about: {ABOUT}")
    for path in map(Path, files):
        if not path.exists():
            raise ValueError(f"{path}: no such file")
        if not path.is_file():
            raise ValueError(f"{path}: this is no file; name the files themselves, such as {path}/*")
    return list(map(Path, files))


def _downloaded(address: Address, name: str, alias: str, number: str | None, target: Path) -> tuple[Version, Path]:
    """Downloads the version that was asked for; returns it with a copy of its servable folder."""
    if address.uri.startswith(PREFIX) and not Path(address.uri.removeprefix(PREFIX)).exists():
        raise ValueError(f"{name}: nothing is registered yet ({address.shown} is not there); `dvc repro` makes it")
    try:
        with reported(address):
            store = store_with_versions(connect(address), address, name)
            version = chosen_version(store, alias, number)
            return version, store.download(version, "", target)
    except (Unreachable, RehearsalFailed) as error:
        raise ValueError(f"{name}: {error}") from None


def _request_of_texts(task: Task, text: Sequence[str]) -> pd.DataFrame:
    if task.reads != "text":
        raise ValueError("--text: this model does not read text; name files")
    return request_of_texts(list(text))


def _answers(folder: Path, requests: list[pd.DataFrame], names: list[str], scratch: Path) -> list[pd.DataFrame]:
    try:
        return answers_of(folder, requests, scratch)
    except Refused as error:
        raise ValueError(f"{names[error.number] or '--text'}: {error}") from None


def _warn(name: str, version: Version) -> None:
    """Warns before the answers where something simpler gives better ones."""
    file = Path("metrics", f"{name}.json")
    if warning := shortcoming(version, read_json(file) if file.is_file() else None):
        print(f"predict: {name}, {version}: {warning}", file=sys.stderr)


def _show(answered: list[Answered], who: str, format: str, output: str | None) -> None:
    """Prints the table, or writes the folder."""
    if output is None:
        if any(rendering.has_pictures(entry.answer) for entry in answered):
            raise ValueError("this model answers pictures; name a new folder for them: --output FOLDER")
        print(rendering.as_text(rendering.joined(answered, [[] for _ in answered]), format), end="")
        return
    names = rendering.picture_names(answered)
    pictures = [
        pair for mine, entry in zip(names, answered, strict=True) for pair in zip(mine, entry.pictures, strict=True)
    ]
    file = "predictions.json" if format == "json" else "predictions.csv"
    text = rendering.as_text(rendering.joined(answered, names), file.rpartition(".")[2])
    rendering.write_folder(Path(output), file, text, pictures)
    drawn = f" and {len(pictures)} picture{'s' if len(pictures) > 1 else ''}" if pictures else ""
    print(f"predict: {who}: {file}{drawn} → {output}")
