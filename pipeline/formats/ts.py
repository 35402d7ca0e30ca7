"""The .ts text format of the UCR and UEA archive of series (Dau et al. 2019, Bagnall et al. 2018), as aeon writes it.

Comments (#), a header of lines `@key value`, then after `@data` one series a line: its channels separated by `:`, the
values of a channel by `,`, and the label as the last field. Keys differ in case from file to file and some are absent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.formats.csv import DAMAGED, opened
from pipeline.formats.records import LabelledSeries, typed_labels

# Keys in lower case. aeon writes @dimension, the archive @dimensions.
FLAGS = ("timestamps", "missing", "univariate", "equallength")
COUNTS = ("dimension", "dimensions", "serieslength")
MISSING = ("?", "nan")  # in lower case

Line = tuple[int, str]  # its number, counted from 1, and its text without blanks at its ends


@dataclass
class Header:
    """The entries of a header; None for one that it lacks."""

    channels: int | None = None
    steps: int | None = None  # of every series
    classes: list[str] = field(default_factory=list)
    unlabelled: str = ""  # the place where the header declares that there are no labels
    ignored: list[str] = field(default_factory=list)  # keys


def read_ts(path: Path, labelled: bool = True) -> LabelledSeries:
    """Reads all series of a file, plain or gzipped. Raises ValueError with the line of the fault.

    Where labels are not needed (`labelled` is False), the header may hold `@classLabel false`: then there are none, and
    all are "".
    """
    lines = _lines(path)
    header = _header(lines, path)
    if labelled and header.unlabelled:
        raise ValueError(f"{header.unlabelled}: found @classLabel false; training needs a label for every series")
    values: list[np.ndarray] = []
    labels: list[str] = []
    for line, text in lines:
        place = f"{path}, line {line}"
        *channels, label = [*text.split(":"), ""] if header.unlabelled else text.split(":")
        if header.channels is None:
            header.channels = len(channels)
        if len(channels) != header.channels or not channels:
            raise ValueError(
                f"{place}: found {len(channels)} channels; allowed: {header.channels or 1}, as in the header or in the "
                "first series, then the label, all separated by colons"
            )
        values.append(_series(channels, header.steps, place))
        labels.append(_label(label, header.classes, place) if labelled else label.strip())
    if not values:
        raise ValueError(f"{path}: the file has no series below @data")
    names = ["value"] if header.channels == 1 else [f"channel_{number}" for number in range(1, len(values[0]) + 1)]
    warnings = (f"{path.name}: the header has {', '.join(header.ignored)}, ignored",) if header.ignored else ()
    return LabelledSeries(values, typed_labels(labels), names, warnings)


def _lines(path: Path) -> Iterator[Line]:
    """Reads lines with content; comments and blank lines are skipped."""
    line = 0
    try:
        with opened(path) as stream:
            for line, data in enumerate(stream, start=1):  # they end at \n alone
                text = data.decode("utf-8-sig" if line == 1 else "utf-8").strip()
                if text and not text.startswith("#"):
                    yield line, text
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, line {line}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except DAMAGED as error:
        raise ValueError(f"{path}: the gzip file is damaged after line {line} ({error}); fetch it again") from None


def _header(lines: Iterator[Line], path: Path) -> Header:
    """Reads as far as @data. Raises ValueError for a header that is not there, or that means another kind of file."""
    header = Header()
    for line, text in lines:
        place = f"{path}, line {line}"
        if not text.startswith("@"):
            raise ValueError(
                f"{place}: found {_short(text)} before @data; allowed: comments (#) and a header of lines such as "
                "`@classLabel true a b`, which @data ends"
            )
        key, *words = text[1:].split() or [""]
        key = key.lower()
        if key == "data":
            return header
        _note(header, key, words, place)
    raise ValueError(f"{path}: found no line @data, after which the series stand; is it a .ts file, and whole?")


def _note(header: Header, key: str, words: list[str], place: str) -> None:
    """Takes up one line of a header."""
    if key in COUNTS:
        count = _count(key, words, place)
        if key == "serieslength":
            header.steps = count or None  # 0 is written where lengths differ
        else:
            header.channels = count
    elif key in FLAGS:
        value = _flag(key, words[:1], place)
        if key == "timestamps" and value:
            raise ValueError(
                f"{place}: found time stamps; allowed: @timeStamps false, values at even steps without times"
            )
        if key == "univariate" and value:
            header.channels = 1
    elif key == "classlabel":
        header.unlabelled = "" if _flag(key, words[:1], place) else place
        header.classes = words[1:]
    elif key == "targetlabel" and _flag(key, words[:1], place):
        raise ValueError(f"{place}: found @targetLabel true, numbers to be predicted; allowed: @classLabel true a b")
    elif key not in ("problemname", "targetlabel"):
        header.ignored.append(f"@{key}")


def _flag(key: str, words: list[str], place: str) -> bool:
    value = " ".join(words).lower()
    if value not in ("true", "false"):
        raise ValueError(f"{place}: found {value!r} for @{key}; allowed: true, false")
    return value == "true"


def _count(key: str, words: list[str], place: str) -> int:
    value = " ".join(words)
    if not (value.isascii() and value.isdigit()) or (key != "serieslength" and int(value) < 1):
        raise ValueError(f"{place}: found {value!r} for @{key}; allowed: a whole number from 1")
    return int(value)


def _series(channels: list[str], steps: int | None, place: str) -> np.ndarray:
    """Reads (C, T) float64. Raises ValueError naming the channel."""
    rows = [_numbers(text, f"{place}, channel {number}") for number, text in enumerate(channels, start=1)]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{place}, channel {number}: found {len(row)} values where channel 1 has {len(rows[0])}; "
                "allowed: as many in every channel of a series, with ? where one is missing"
            )
        if steps is not None and len(row) != steps:
            raise ValueError(f"{place}, channel {number}: found {len(row)} values; allowed: {steps} (@seriesLength)")
        if np.isnan(row).all():
            raise ValueError(f"{place}, channel {number}: has no value at all; remove the series")
    return np.stack(rows)


def _numbers(text: str, place: str) -> np.ndarray:
    """Reads (T,) float64, NaN for missing. Raises ValueError naming the value."""
    fields = text.split(",")
    try:
        values = np.array(fields, dtype=np.float64)
    except ValueError:
        values = np.full(len(fields), math.inf)
    if np.isfinite(values).all() and "_" not in text:  # Python would read 1_000 as a number
        return values
    return np.array([_number(item.strip(), f"{place}, value {at}") for at, item in enumerate(fields, start=1)])


def _number(text: str, place: str) -> float:
    if text.lower() in MISSING:
        return math.nan
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{place}: found {_short(text)}; allowed: a number, or ? where it is missing")
    return value


def _label(text: str, classes: list[str], place: str) -> str:
    label = text.strip()
    if not label:
        raise ValueError(f"{place}: the label is missing; it is the last field, behind a colon")
    if classes and label not in classes:
        raise ValueError(f"{place}: found the label {_short(label)}; allowed: {', '.join(classes)} (@classLabel)")
    return label


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
