"""Plain text, a sentence a line, plain or gzipped, read so that every complaint can name its line."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.csv_files import DAMAGED, opened, raw_file


def sentences(folder: Path, name: str) -> list[str]:
    """The lines of a UTF-8 file without blanks at their ends. Raises ValueError for an empty or unreadable line.

    Lines end at \\n or \\r\\n only: str.splitlines() would also cut at signs that stand inside of sentences.
    """
    path = raw_file(folder, name)
    found: list[str] = []
    try:
        with opened(path) as stream:
            for line, data in enumerate(stream, 1):
                text = data.decode("utf-8-sig" if line == 1 else "utf-8").strip()
                if not text:
                    raise ValueError(f"{path}, line {line}: found an empty line; each line is a sentence")
                found.append(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, line {len(found) + 1}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except DAMAGED as error:
        raise ValueError(
            f"{path}: the gzip file is damaged after line {len(found)} ({error}); fetch it again"
        ) from None
    if not found:
        raise ValueError(f"{path}: the file holds no sentences")
    return found


def labelled_sentences(folder: Path, name: str) -> tuple[list[str], list[str]]:
    """(sentences, labels) of lines such as `a fine film<TAB>1`. Quotation marks are signs like any other."""
    path, texts, labels = raw_file(folder, name), [], []
    for line, row in enumerate(sentences(folder, name), 1):
        text, tab, label = row.rpartition("\t")
        if not (tab and text.strip() and label.strip()) or "\t" in text:
            raise ValueError(
                f"{path}, line {line}: found {len(row.split(chr(9)))} fields; allowed: a sentence, a tab and its label"
            )
        texts.append(text.strip())
        labels.append(label.strip())
    return texts, labels
