"""Raw formats: one function each, which reads one part of a data set.

The keyword arguments of a function are its schema: `options` (for all parts) and `parts.<part>` of params.yaml
together fill them. A new format is one function here and one line in FORMATS.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.formats.boxes import annotated_images
from pipeline.formats.coco import read_coco
from pipeline.formats.csv import check_inside, csv_rows, number, raw_file, row_range
from pipeline.formats.glance import glanced
from pipeline.formats.idx import IMAGES, LABELS, read_idx
from pipeline.formats.image import check_no_link, image_paths, is_hidden, read_image
from pipeline.formats.joined_recordings import joined
from pipeline.formats.recordings import listed, named, read_entries
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
    typed_labels,
)
from pipeline.formats.series import read_series
from pipeline.formats.styles import read_styled
from pipeline.formats.text import HEADERS, labelled_sentences, sentences
from pipeline.formats.ts import read_ts
from pipeline.formats.voc import read_voc


def idx(folder: Path, *, images: str, labels: str) -> Images:
    """A pair of IDX files, plain or gzipped: grey pictures and their class numbers."""
    pixels, numbers = read_idx(folder, images, IMAGES), read_idx(folder, labels, LABELS)
    if len(pixels) != len(numbers):
        raise ValueError(
            f"{folder}: {images} has {len(pixels)} images, but {labels} has {len(numbers)} labels; "
            "name two files that belong together"
        )
    return Images(pixels[:, np.newaxis], numbers.astype(np.int64), maximum=255, names=None)  # (N, 1, H, W)


def pixel_table(
    folder: Path, *, file: str, height: int, width: int, channels: int, maximum: int, rows: list[int] | None = None
) -> Images:
    """A CSV file, plain or gzipped, with a picture a row: its pixels (channel by channel, row by row), then the label.

    A header is recognised by having no number in it, or by counting the pixels up to the name of the label. `rows`
    picks the rows [first, end), the header not counted.
    """
    _check_positive(height=height, width=width, channels=channels, maximum=maximum)
    if channels not in (1, 3):
        raise ValueError(f"data.options.channels: found {channels}; allowed: 1 (grey), 3 (colour)")
    path = raw_file(folder, file)
    count = channels * height * width
    pixels: list[np.ndarray] = []
    labels: list[str] = []
    for line, fields in csv_rows(path):
        if len(fields) != count + 1:
            shape = f"{channels} × {height} × {width} pixels and a label"
            raise ValueError(f"{path}, line {line}: found {len(fields)} columns; allowed: {count + 1} ({shape})")
        if not pixels and _is_header(fields):
            continue
        pixels.append(_pixel_row(fields, maximum, f"{path}, line {line}"))
        labels.append(fields[-1].strip())
    if not pixels:
        raise ValueError(f"{path}: the file has no rows")
    chosen = row_range(rows, len(pixels), path)
    array = np.stack(pixels[chosen]).reshape(-1, channels, height, width)
    return Images(array, typed_labels(labels[chosen]), maximum=maximum, names=None)


def class_folders(folder: Path, *, directory: str, height: int, width: int, mode: str) -> Images:
    """A folder for every class, named like it, with pictures of any size in it; `directory` holds these folders."""
    _check_positive(height=height, width=width)
    _check_mode(mode)
    root = _class_root(folder, directory)
    entries = sorted(entry for entry in root.iterdir() if not is_hidden(entry.name))
    labelled: list[tuple[Path, str]] = []
    ignored = sum(not entry.is_dir() for entry in entries)
    for entry in (entry for entry in entries if entry.is_dir()):
        check_no_link(entry)
        pictures, other_files = image_paths(entry)
        if not pictures:
            raise ValueError(f"{entry}: this class folder has no images; add some or remove the folder")
        labelled += [(picture, entry.name) for picture in pictures]
        ignored += other_files
    if not labelled:
        raise ValueError(f"{root}: found no folders with images; expected one folder for every class")
    paths, labels = zip(*glanced(labelled), strict=True)
    pixels = np.empty((len(paths), 3 if mode == "RGB" else 1, height, width), dtype=np.uint8)
    read = partial(read_image, height=height, width=width, mode=mode)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding lets other threads run; map keeps the order
        for row, picture in enumerate(pool.map(read, paths)):
            pixels[row] = picture
    message = f"{ignored} files in {root.as_posix()} are not images in class folders and were ignored"
    names = [path.relative_to(folder).as_posix() for path in paths]
    warnings = (message,) if ignored else ()
    return Images(pixels, np.array(labels), maximum=255, names=names, warnings=warnings, files=list(paths))


def csv_series(
    folder: Path, *, file: str, date: str, date_format: str, columns: list[str], rows: list[int] | None = None
) -> Series:
    """A CSV file with a header, a date a row and a column for every series.

    `date_format` is a pattern of strptime, or ISO8601. `rows` picks the rows [first, end), the header not counted.
    """
    return read_series(raw_file(folder, file), date, date_format, columns, rows)


def parallel_text(folder: Path, *, source: str, target: str) -> Pairs:
    """Two text files, plain or gzipped, in which line k of one belongs to line k of the other."""
    sides = sentences(folder, source), sentences(folder, target)
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"{folder}: {source} has {len(sides[0])} lines, but {target} has {len(sides[1])}; name two files of which "
            "each line belongs to the same line of the other"
        )
    return Pairs(*sides)


def labelled_text(folder: Path, *, file: str, classes: dict[str, str] | None = None) -> LabelledText:
    """A text file, plain or gzipped, with a sentence, a tab and its label a line.

    `classes` gives the meanings of the labels, such as {"0": negative, "1": positive}; no other label may occur then.
    """
    texts, labels, warnings = labelled_sentences(folder, file, classes)
    return LabelledText(texts, np.array(labels) if classes else typed_labels(labels), warnings)


def ts(folder: Path, *, file: str) -> LabelledSeries:
    """A .ts file of the UCR and UEA archive, plain or gzipped: labelled series of any length and number of channels."""
    return read_ts(raw_file(folder, file))


def pascal_voc(
    folder: Path, *, directory: str, height: int, width: int, mode: str, image_set: str | None = None
) -> AnnotatedImages:
    """The folders Annotations, JPEGImages and ImageSets/Main of Pascal VOC, which stand in `directory`.

    `image_set` names a list of ImageSets/Main, such as train; without it all pictures are taken. Pictures are made as
    large as they fit into `height` × `width`.
    """
    _check_mode(mode)
    _check_positive(height=height, width=width)
    root = _class_root(folder, directory)
    return annotated_images(folder, read_voc(root, image_set), height=height, width=width, mode=mode)


def coco(folder: Path, *, images: str, annotations: str, height: int, width: int, mode: str) -> AnnotatedImages:
    """A folder of pictures and COCO's JSON file of boxes; pictures are made as large as they fit."""
    _check_mode(mode)
    _check_positive(height=height, width=width)
    entries, warnings = read_coco(folder, images, annotations)
    return annotated_images(folder, entries, height=height, width=width, mode=mode, warnings=warnings)


def recordings(folder: Path, *, transcripts: str, sample_rate: int, directory: str = ".") -> Recordings:
    """WAV, FLAC or OGG files in `directory`, and a list of a file, a tab and what is said in it (a tab, the speaker).

    Recordings are brought to one channel and to `sample_rate` samples a second.
    """
    entries, warnings = listed(folder, directory, transcripts)
    return read_entries(folder, entries, sample_rate, warnings)


def named_recordings(
    folder: Path, *, directory: str, pattern: str, sample_rate: int, words: dict[str, str] | None = None,
    speakers: list[str] | None = None, numbers: list[int] | None = None,
) -> Recordings:  # fmt: skip
    """WAV, FLAC or OGG files whose names tell what is said, by a `pattern` such as {text}_{speaker}_{number}.

    `words` maps the text of a name to its meaning. `speakers`, and `numbers` [first, end), pick some of the files.
    """
    return read_entries(folder, named(folder, directory, pattern, words, speakers, numbers), sample_rate)


def joined_recordings(
    folder: Path, *, directory: str, pattern: str, sample_rate: int, words_joined: list[int], gap: list[float],
    passes: int, words: dict[str, str] | None = None, speakers: list[str] | None = None,
    numbers: list[int] | None = None,
) -> Recordings:  # fmt: skip
    """Connected speech out of `named_recordings` of one speaker each: see `joined` for what is drawn."""
    entries = named(folder, directory, pattern, words, speakers, numbers)
    return joined(read_entries(folder, entries, sample_rate), words_joined, gap, passes)


def content_and_style(
    folder: Path, *, content: list[str], style: list[str], size: int, shorter_side: int, perceptual: str | None = None
) -> StyledPictures:
    """Folders (or files) of content pictures and of style pictures, of any size, for style transfer.

    All are scaled to `shorter_side`; content is cut into squares of `size` pixels. `perceptual` names weights of VGG-16
    in torchvision's form, or a folder with model.json and model.safetensors of a classifier; without it untrained.
    """
    _check_positive(size=size, shorter_side=shorter_side)
    return read_styled(folder, content, style, size, shorter_side, perceptual)


FORMATS: dict[str, Callable[..., Records]] = {
    "idx": idx,
    "pixel_table": pixel_table,
    "class_folders": class_folders,
    "csv_series": csv_series,
    "parallel_text": parallel_text,
    "labelled_text": labelled_text,
    "ts": ts,
    "pascal_voc": pascal_voc,
    "coco": coco,
    "recordings": recordings,
    "named_recordings": named_recordings,
    "joined_recordings": joined_recordings,
    "content_and_style": content_and_style,
}


def _check_positive(**options: object) -> None:
    for name, value in options.items():
        highest = 255 if name == "maximum" else 65535
        if type(value) is not int or not 1 <= value <= highest:
            raise ValueError(f"data.options.{name}: found {value!r}; allowed: a whole number from 1 to {highest}")


def _check_mode(mode: str) -> None:
    if mode not in ("L", "RGB"):
        raise ValueError(f"data.options.mode: found {mode!r}; allowed: L (grey), RGB")


def _is_header(fields: list[str]) -> bool:
    """Whether a row holds the names of pixels and label."""

    def is_number(field: str) -> bool:
        try:
            float(field)
        except ValueError:
            return False
        return True

    *pixels, label = fields
    counted = any(pixels == [str(place) for place in range(start, start + len(pixels))] for start in (0, 1))
    return not any(map(is_number, pixels)) or (counted and label.strip().lower() in HEADERS)


def _pixel_row(fields: list[str], maximum: int, place: str) -> np.ndarray:
    """Returns the (C·H·W,) uint8 of one row. Raises ValueError naming line and column."""
    try:
        values = np.array(fields[:-1], dtype=np.float64)
    except ValueError:
        pixels = enumerate(fields[:-1], start=1)
        values = np.array([number(field, f"{place}, column {column}") for column, field in pixels])
    wrong = ~((values >= 0) & (values <= maximum) & (values == np.floor(values)))  # NaN is wrong, too
    if wrong.any():
        column = int(wrong.argmax())
        text = fields[column].strip()
        raise ValueError(f"{place}, column {column + 1}: found {text!r}; allowed: a whole number from 0 to {maximum}")
    if not fields[-1].strip():
        raise ValueError(f"{place}, column {len(fields)}: the label is missing")
    return values.astype(np.uint8)


def _class_root(folder: Path, directory: str) -> Path:
    root = folder / directory
    check_inside(folder, directory)
    if folder.is_dir() and not root.is_dir():
        there = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name))
        raise ValueError(f"{root}: no such folder; {folder} has {', '.join(there[:8]) or 'no folders'}")
    if not root.is_dir():
        raw_file(folder, directory)  # raises with what to do about a missing folder
    return root
