"""Answers to a user's files as one table, and as files in a folder that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

import pandas as pd

from pipeline.escaping import in_one_line
from pipeline.files.atomic import replaced_folder

FORMATS = ("table", "csv", "json")


@dataclass(frozen=True)
class Answered:
    """Holds what was asked and answered about one file; the name of a text of the command line is ""."""

    name: str
    request: pd.DataFrame
    answer: pd.DataFrame
    pictures: list[bytes]  # one for every row of the answer, or one for all


def joined(answered: Sequence[Answered], pictures: Sequence[Sequence[str]]) -> pd.DataFrame:
    """One table: the file, its picture where there is one, the sentence that was read, and the answer.

    Columns that hold pictures are left out; `pictures` are names of files.
    """
    parts = []
    for entry, names in zip(answered, pictures, strict=True):
        part = entry.answer[[name for name in entry.answer if not _is_binary(entry.answer[name])]].copy()
        if "text" in entry.request and "text" not in part and len(part) == len(entry.request):
            part.insert(0, "text", entry.request["text"].to_numpy())
        if names:
            part.insert(0, "picture", names[0] if len(names) == 1 else names)
        if entry.name:
            part.insert(0, "file", entry.name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def as_text(table: pd.DataFrame, kind: str) -> str:
    """The table in one of FORMATS; a line end closes it."""
    if kind == "csv":
        return str(table.to_csv(index=False, lineterminator="\n"))
    if kind == "json":
        return str(table.to_json(orient="records", indent=2, force_ascii=False, double_precision=15)) + "\n"
    columns = [_aligned(str(name), table[name]) for name in table]
    return "".join("  ".join(cells).rstrip() + "\n" for cells in zip(*columns, strict=True))


def write_folder(folder: Path, name: str, text: str, pictures: Sequence[tuple[str, bytes]]) -> None:
    """A new folder with the table and the pictures. Raises ValueError where something stands in its place."""
    check_free(folder)
    with replaced_folder(folder) as fresh:
        (fresh / name).write_text(text, encoding="utf-8")
        for file, content in pictures:
            (fresh / file).write_bytes(content)


def check_free(folder: Path) -> None:
    """Nothing of a user is overwritten: the folder may be there if it is empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is a file"
        raise ValueError(f"--output: {folder} {what}; name a new folder")


def picture_names(answered: Sequence[Answered]) -> list[list[str]]:
    """Names of PNG files for the pictures of every answer, like that of the file that was asked about."""
    taken: set[str] = set()
    names = []
    for entry in answered:
        stem = Path(entry.name or "text").stem
        free = (name for name in chain([f"{stem}.png"], (f"{stem}-{n}.png" for n in count(2))) if name not in taken)
        names.append(list(islice(free, len(entry.pictures))))
        taken |= set(names[-1])
    return names


def has_pictures(answer: pd.DataFrame) -> bool:
    """Whether some column holds what a table cannot show."""
    return any(_is_binary(answer[name]) for name in answer)


def _is_binary(column: pd.Series) -> bool:
    return len(column) > 0 and all(isinstance(value, bytes) for value in column)


def _aligned(head: str, column: pd.Series) -> list[str]:
    """Head and cells in one width: numbers to the right, in six digits, text to the left."""
    numeric = pd.api.types.is_numeric_dtype(column)
    cells = [
        in_one_line(head),
        *(f"{value:.6g}" if isinstance(value, float) else in_one_line(value) for value in column.tolist()),
    ]
    width = max(map(len, cells))
    return [cell.rjust(width) if numeric else cell.ljust(width) for cell in cells]
