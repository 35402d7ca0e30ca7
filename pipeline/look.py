"""The contents of an experiment's raw data, in lines for a person: read as `prepare` would, but nothing is written.

It runs next to the stages and cannot change an output, so no stage depends on it in dvc.yaml.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.data.steps import counted, in_words, usual_step
from pipeline.formats import FORMATS
from pipeline.formats.glance import Glance, glancing
from pipeline.formats.records import (
    AnnotatedImages,
    Images,
    LabelledSeries,
    LabelledText,
    Pairs,
    Recordings,
    Records,
    Series,
    StyledPictures,
)
from pipeline.params import Experiment
from pipeline.tasks import load_task

FILES, BYTES = 5000, 200_000_000  # up to which all records are read, and split as `prepare` would
SOME = 300  # records of each part that are read of larger data
SHOWN = 8  # classes or columns in a line
LONG = 60  # characters of a sentence that are shown
PARTS = {"all", "train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval"}


def look(experiment: Experiment, seed: int, warn: Callable[[str], None]) -> Iterator[str]:
    """Yields lines about the data as they are read. Raises ValueError with all that is wrong in the parts at once."""
    data = experiment.data
    files, size = _extent(Path(data.path))
    yield f"{data.path}: {_number(files, 'file')}, {size / 1e6:,.1f} MB, read as {data.format}"
    whole = files <= FILES and size <= BYTES
    parts: dict[str, Records] = {}
    wrong: dict[str, str] = {}
    with glancing(files + 1 if whole else SOME) as glance:
        for part, options in data.parts.items():
            glance.total = 0
            try:
                parts[part] = FORMATS[data.format](Path(data.path), **data.options | options)
            except (ValueError, OSError) as error:
                wrong[part] = str(error)
                continue
            yield f"  {part}: {_described(parts[part])}{_share(glance)}"
            for warning in (*getattr(parts[part], "warnings", ()), *_doubts(parts[part], data.format)):
                warn(f"{part}: {warning}")
    if wrong:
        raise ValueError("; ".join(f"part {part}: {message}" for part, message in wrong.items()))
    if whole:
        yield from _split(experiment, parts, seed, warn)


def _split(experiment: Experiment, parts: dict[str, Records], seed: int, warn: Callable[[str], None]) -> Iterator[str]:
    """Describes what `prepare` would make of the parts. Raises ValueError where it would stop."""
    task = load_task(experiment.task, experiment.settings)
    card = task.prepare(parts, experiment.split.model_dump(), seed).card
    shown = {warning for records in parts.values() for warning in getattr(records, "warnings", ())}
    for warning in (warning for warning in card["warnings"] if warning not in shown):
        warn(warning)
    yield "  split: " + ", ".join(f"{count:,} {split}" for split, count in card["counts"].items())


def _extent(folder: Path) -> tuple[int, int]:
    """Counts the files in a folder, and their bytes."""
    sizes = [os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names]
    return len(sizes), sum(sizes)


def _share(glance: Glance) -> str:
    return f" (looked at {glance.most:,} of {glance.total:,} files)" if glance.total > 2 * glance.most else ""


def _described(records: Records) -> str:
    """Describes the records of a part in one line."""
    match records:
        case Images():
            return _images(records)
        case AnnotatedImages():
            return _boxes(records)
        case Series():
            return _series(records)
        case Pairs():
            first = f"“{_short(records.sources[0])}” is “{_short(records.targets[0])}”"
            return f"{_number(len(records.sources), 'pair')} of sentences; the first: {first}"
        case LabelledText():
            first = f"“{_short(records.texts[0])}” ({records.labels[0]})"
            return f"{_number(len(records.texts), 'sentence')}; {_classes(records.labels)}; the first: {first}"
        case LabelledSeries():
            return _labelled_series(records)
        case Recordings():
            return _recordings(records)
        case StyledPictures():
            squares, styles = _number(len(records.squares), "square"), _number(len(records.styles), "style")
            return f"{squares} of {_number(len(records.names), 'picture')} of content, {styles}"


def _images(records: Images) -> str:
    _, channels, height, width = records.pixels.shape
    colour = "in colour" if channels == 3 else "grey"
    values = f"values {records.pixels.min()} to {records.pixels.max()} of {records.maximum}"
    count = _number(len(records.pixels), "picture")
    return f"{count} of {width} × {height} pixels, {colour}, {values}; {_classes(records.labels)}"


def _boxes(records: AnnotatedImages) -> str:
    labels = [label for entry in records.labels for label in entry]
    empty = sum(not entry for entry in records.labels)
    heights, widths = records.sizes.T
    sizes = f"{_range(widths)} × {_range(heights)} pixels"
    without = f", {empty:,} of them without boxes" if empty else ""
    boxes = f"{len(labels):,} box{'' if len(labels) == 1 else 'es'}"
    return f"{_number(len(records.labels), 'picture')} of {sizes}{without}; {boxes}; {_classes(labels)}"


def _series(records: Series) -> str:
    first, last = (str(time).replace("T00:00:00", "") for time in (records.times[0], records.times[-1]))
    seconds, months = usual_step(records.times)
    step = counted(months, "month") if months else in_words(seconds)
    columns = [
        f"{name} ({_bounds(column)}{_missing(column)})"
        for name, column in zip(records.columns[:SHOWN], records.values.T, strict=False)
    ]
    more = f" and {len(records.columns) - SHOWN} others" if len(records.columns) > SHOWN else ""
    return f"{_number(len(records.times), 'row')}, {first} to {last}, every {step}; {', '.join(columns)}{more}"


def _labelled_series(records: LabelledSeries) -> str:
    lengths = _range([values.shape[1] for values in records.values])
    channels = _number(len(records.channels), "channel")
    return f"{len(records.values):,} series of {lengths} steps, {channels}; {_classes(records.labels)}"


def _recordings(records: Recordings) -> str:
    seconds = np.array([len(samples) for samples in records.samples]) / records.sample_rate
    speakers = f", {_number(len(set(records.speakers)), 'speaker')}" if records.speakers else ""
    lengths = f"{seconds.min():.2f} to {seconds.max():.2f} s, {seconds.sum() / 60:,.1f} min in all"
    texts = f"{_number(len(set(records.texts)), 'text')}, the first: “{_short(records.texts[0])}”"
    return f"{_number(len(seconds), 'recording')} of {lengths}{speakers}; {texts}"


def _doubts(records: Records, name: str) -> Iterator[str]:
    """Yields warnings about what can be meant, but seldom is."""
    if name != "class_folders" or not isinstance(records, Images):
        return
    classes = sorted(set(map(str, records.labels.tolist())))
    parts = [label for label in classes if label.casefold() in PARTS]
    if len(parts) > 1:  # a single one may be a train
        yield (
            f"the classes are called {', '.join(parts)}, like parts of a split: if they are that, name each under "
            "data.parts with its own `directory`"
        )
    deep = [label for label in classes if all(_is_deep(entry, label) for entry in _names_of(records, label))]
    if deep and len(parts) < 2:
        yield (
            f"all pictures of the class {deep[0]} lie in folders of its folder: is `directory` a level too high? "
            "Every folder in it is one class"
        )


def _names_of(records: Images, label: str) -> Iterable[str]:
    return (name for name, own in zip(records.names or (), records.labels.tolist(), strict=True) if str(own) == label)


def _is_deep(name: str, label: str) -> bool:
    return PurePosixPath(name).parent.name != label


def _classes(labels: Sequence[Any] | np.ndarray) -> str:
    counts = sorted(Counter(labels.tolist() if isinstance(labels, np.ndarray) else labels).items())
    shown = ", ".join(f"{name} ({count:,})" for name, count in counts[:SHOWN])
    more = f" and {len(counts) - SHOWN} others" if len(counts) > SHOWN else ""
    return f"{len(counts)} class{'' if len(counts) == 1 else 'es'}: {shown}{more}" if counts else "no classes"


def _bounds(column: np.ndarray) -> str:
    seen = column[~np.isnan(column)]
    return f"{seen.min():.4g} to {seen.max():.4g}" if len(seen) else "no values"


def _missing(column: np.ndarray) -> str:
    missing = int(np.isnan(column).sum())
    return f", {missing:,} missing" if missing else ""


def _range(values: Sequence[int] | np.ndarray) -> str:
    low, high = int(min(values)), int(max(values))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _short(text: str) -> str:
    return text if len(text) <= LONG else text[: LONG - 1] + "…"
