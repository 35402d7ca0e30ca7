"""CSV files, plain or gzipped, read row by row so that every complaint can name its line."""

from __future__ import annotations

import csv
import difflib
import gzip
import math
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

LARGEST = 3.4e38  # what a number of single precision can hold, as tables do
LONGEST_LINE = 1 << 24  # bytes
SMALLEST_LIMIT, RATIO = 1 << 24, 50  # bytes that any gzip file may unpack to; and to so many times its own size
MISSING = {"", "na", "n/a", "nan", "null", "none"}  # compared in lower case

Row = tuple[int, list[str]]  # line of the file, counted from 1, and the fields


def raw_file(folder: Path, name: str) -> Path:
    """Finds a file of a raw data folder. Raises ValueError if folder or file is missing, elsewhere, or empty."""
    if folder.is_file():
        raise ValueError(f"{folder}: this is a file; put it into a folder of its own and give data.path that folder")
    check_inside(folder, str(name))
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder; fetch it (`dvc repro fetch@{folder.name}` where params.yaml has a download "
            f"of that name), restore it (`dvc pull`), or put your data there and run `dvc add {folder}`"
        )
    path = folder / str(name)
    if not path.is_file():
        there = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        match = difflib.get_close_matches(str(name), there, n=1)
        hint = f"; did you mean {match[0]}?" if match else f"; the folder has {', '.join(there[:8]) or 'no files'}"
        raise ValueError(f"{path}: no such file{hint}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty; fetch it again")
    return path


def check_inside(folder: Path, name: str) -> None:
    """Raises ValueError for an absolute name, and one that leads out of the folder, where DVC notices no change."""
    there = Path(os.path.abspath(folder / name))  # links of DVC's cache are welcome, so they are not followed here
    if os.path.isabs(name) or not there.is_relative_to(os.path.abspath(folder)):
        raise ValueError(f"found {name!r}; allowed: folders and files inside of {folder}, named relative to it")


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file for reading, unpacked where its first bytes are those of gzip, whatever its name is.

    Raises ValueError for lines that are read beyond LONGEST_LINE, and for more than RATIO times the size of a gzip file
    (or SMALLEST_LIMIT, if that is more): a few kilobytes of it can hold gigabytes.
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        if not packed:
            yield cast(IO[bytes], _Bounded(path, stream, None))
            return
        with gzip.open(stream) as unpacked:
            yield cast(IO[bytes], _Bounded(path, unpacked, max(SMALLEST_LIMIT, RATIO * path.stat().st_size)))


class _Bounded:
    """A file that is read as a whole, or line by line, as far as it fits the memory."""

    def __init__(self, path: Path, stream: Any, left: int | None) -> None:
        self.path, self.stream, self.left = path, stream, left

    def read(self) -> bytes:
        """Reads all of it."""
        return self._counted(self.stream.read(-1 if self.left is None else self.left + 1))

    def __iter__(self) -> Iterator[bytes]:
        number = 0
        while line := self._counted(self.stream.readline(LONGEST_LINE + 1)):
            number += 1
            if len(line) > LONGEST_LINE:
                size = f"{LONGEST_LINE >> 20} MiB"
                raise ValueError(f"{self.path}, line {number}: longer than {size}; is it the right kind of file?")
            yield line

    def _counted(self, data: bytes) -> bytes:
        if self.left is not None:
            self.left -= len(data)
            if self.left < 0:
                raise ValueError(f"{self.path}: unpacks to more than {RATIO} times its size; unpack it by hand")
        return data


DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)  # what a truncated or altered gzip file raises


def csv_rows(path: Path) -> Iterator[Row]:
    """Reads rows of a CSV file in UTF-8; blank lines are skipped. Raises ValueError with the line of the fault.

    A quotation mark that is never closed swallows rows up to the next mark, which is an error, too; text of several
    lines is none.
    """
    line = 0
    try:
        with opened(path) as stream:
            # Lines end at \n or \r\n only: str.splitlines() would also cut at U+0085.
            lines = (text.decode("utf-8" if row else "utf-8-sig") for row, text in enumerate(stream))
            reader = csv.reader(lines)
            for fields in reader:
                first, line = line + 1, reader.line_num
                if line > first and _swallows_rows(fields):
                    raise ValueError(
                        f"{path}, line {first}: a field in quotation marks goes on to line {line} and holds what looks "
                        "like rows; close it, or write it without breaks"
                    )
                if any(field.strip() for field in fields):
                    yield line, fields
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, line {line + 1}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"{path}, line {line + 1}: not readable as CSV ({error})") from None
    except DAMAGED as error:
        raise ValueError(f"{path}: the gzip file is damaged after line {line} ({error}); fetch it again") from None


def _swallows_rows(fields: list[str]) -> bool:
    """Whether a line inside of a field could be a row by itself."""
    inner = (line for field in fields for line in field.split("\n")[1:])
    return any(len(line.split(",")) >= len(fields) for line in inner)


def number(text: str, place: str) -> float:
    """Reads a number up to LARGEST, NaN for a missing one (blank, NA, NaN, null, None); `place` is for the message."""
    text = text.strip()
    if text.lower() in MISSING:
        return math.nan
    try:
        value = math.nan if "_" in text else float(text)  # Python would read 1_000 as a number
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:  # NaN is wrong, too
        most = f" up to {LARGEST:g}" if math.isfinite(value) else ""
        raise ValueError(f"{place}: found {text!r}; allowed: a number{most}, or blank or NA where it is missing")
    return value


def moment(text: str, date_format: str, place: str) -> datetime:
    """Reads a date without time zone (with one in the text: in UTC). Raises ValueError naming place and format."""
    text = text.strip()
    try:
        date = datetime.fromisoformat(text) if date_format == "ISO8601" else datetime.strptime(text, date_format)
        date = date if date.tzinfo is None else date.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, re.error):  # beyond the year 9999 in UTC; a form that names a field twice
        raise ValueError(
            f"{place}: found {text!r}, which is not a date of the form {date_format!r}; "
            "set date_format in params.yaml to the form of the file, such as '%Y-%m-%d', or ISO8601"
        ) from None
    return date


def position(header: list[str], column: str, path: Path) -> int:
    """Returns the position of a column. Raises ValueError with the nearest name if it is missing or there twice."""
    names = [name.strip() for name in header]
    if names.count(column) == 1:
        return names.index(column)
    if column in names:
        raise ValueError(f"{path}: column {column!r} occurs {names.count(column)} times; give each its own name")
    match = difflib.get_close_matches(column, names, n=1)
    hint = f"; did you mean {match[0]!r}?" if match else ""
    if len(names) == 1 and ";" in names[0]:
        hint = "; the file is separated by semicolons, save it with commas"
    raise ValueError(f"{path}: no column {column!r}; the file has {', '.join(map(repr, names))}{hint}")


def row_range(rows: list[int] | None, count: int, path: Path) -> slice:
    """Returns the rows [first, end) of a file with `count` rows. Raises ValueError if they are not all there."""
    if rows is None:
        return slice(0, count)
    whole = isinstance(rows, list | tuple) and len(rows) == 2 and all(type(row) is int for row in rows)
    if not whole or not 0 <= rows[0] < rows[1] <= count:
        raise ValueError(
            f"{path}: found rows {rows!r}; allowed: [first, end] with 0 <= first < end <= {count}, "
            f"as the file has {count} rows (the end is not included)"
        )
    return slice(rows[0], rows[1])
