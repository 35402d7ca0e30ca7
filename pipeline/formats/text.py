"""Plain text, a sentence a line, plain or gzipped, read so that every complaint can name its line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.formats.csv import DAMAGED, opened, raw_file

HEADERS = {"category", "class", "label", "labels", "polarity", "sentiment", "target"}  # above labels, in lower case


def sentences(folder: Path, name: str) -> list[str]:
    """Reads the lines of a UTF-8 file without blanks at their ends. Raises ValueError for an empty or unreadable line.

    Lines end at \\n or \\r\\n only: str.splitlines() would also cut at signs inside of sentences.
    """
    path = raw_file(folder, name)
    lines: list[str] = []
    try:
        with opened(path) as stream:
            for line, data in enumerate(stream, 1):
                text = data.decode("utf-8-sig" if line == 1 else "utf-8").strip()
                if not text:
                    raise ValueError(f"{path}, line {line}: found an empty line; each line is a sentence")
                lines.append(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, line {len(lines) + 1}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except DAMAGED as error:
        raise ValueError(
            f"{path}: the gzip file is damaged after line {len(lines)} ({error}); fetch it again"
        ) from None
    if not lines:
        raise ValueError(f"{path}: the file holds no sentences")
    return lines


def labelled_sentences(
    folder: Path, name: str, classes: Mapping[str, str] | None = None
) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Returns (sentences, labels, warnings) of lines such as `a fine film<TAB>1`; quotation marks are plain signs.

    `classes` gives the meanings of labels. A header is recognised by a label above numbers that is not a
    number itself, or is one of HEADERS that no other line has.
    """
    path, texts, labels = raw_file(folder, name), [], []
    for line, row in enumerate(sentences(folder, name), 1):
        text, tab, label = row.rpartition("\t")
        if not (tab and text.strip() and label.strip()) or "\t" in text:
            raise ValueError(
                f"{path}, line {line}: found {len(row.split(chr(9)))} fields; allowed: a sentence, a tab and its label"
            )
        texts.append(text.strip())
        labels.append(label.strip())
    named = labels[0].lower() in HEADERS and labels[0] not in labels[1:]
    header = len(labels) > 1 and not _is_number(labels[0]) and (named or all(map(_is_number, labels[1:])))
    warnings = (f"{path}: the first line, {texts[0]!r}, is a header and no sentence",) if header else ()
    texts, labels = texts[header:], labels[header:]
    return texts, _named(labels, classes, path, 1 + header) if classes else labels, warnings


def _named(labels: list[str], classes: Mapping[str, str], path: Path, first_line: int) -> list[str]:
    for line, label in enumerate(labels, first_line):
        if label not in classes:
            allowed = ", ".join(classes)
            raise ValueError(f"{path}, line {line}: found the label {label!r}; data.options.classes knows {allowed}")
    return [classes[label] for label in labels]


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True
