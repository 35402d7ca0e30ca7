"""Folders of content and of style pictures: found, read, scaled and cut into squares."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.formats.csv import check_inside
from pipeline.formats.glance import glanced
from pipeline.formats.image import image_paths, read_scaled_image
from pipeline.formats.records import StyledPictures


def read_styled(
    folder: Path, content: list[str], style: list[str], size: int, shorter_side: int, perceptual: str | None
) -> StyledPictures:
    """Reads the pictures of one part.

    Every picture is scaled so that its shorter side has `shorter_side` pixels; content is cut into as many squares of
    `size` pixels as fit side by side. Raises ValueError for what is missing, broken or too small.
    """
    if size > shorter_side:
        raise ValueError(f"data.options.size: found {size}; allowed: at most shorter_side, which is {shorter_side}")
    contents, ignored = _picture_files(folder, content, "content")
    styles, ignored_styles = _picture_files(folder, style, "style")
    contents, styles = glanced(contents), glanced(styles)
    read = partial(_scaled, shorter_side=shorter_side)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding lets other threads run; map keeps the order
        cut = [np.stack(list(squares(picture, size))) for picture in pool.map(read, contents)]
        whole = list(pool.map(read, styles))
    ignored += ignored_styles
    return StyledPictures(
        squares=np.concatenate(cut),
        pictures=np.repeat(np.arange(len(cut)), [len(part) for part in cut]),
        names=[path.relative_to(folder).as_posix() for path in contents],
        files=contents,
        styles=whole,
        style_names=[path.relative_to(folder).as_posix() for path in styles],
        perceptual=None if perceptual is None else _existing(folder, perceptual, "perceptual"),
        warnings=(f"{ignored} files among the pictures in {folder.as_posix()} are none and were ignored",)
        if ignored
        else (),
    )


def squares(picture: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Cuts a picture (C, H, W) into parts (C, size, size), evenly spread and without overlap, row by row."""
    rows, columns = (_starts(length, size) for length in picture.shape[1:])
    for top in rows:
        for left in columns:
            yield picture[:, top : top + size, left : left + size]


def _starts(length: int, size: int) -> list[int]:
    count = length // size
    free = length - count * size
    return [place * size + round(free * (place + 1) / (count + 1)) for place in range(count)]


def _scaled(path: Path, shorter_side: int) -> np.ndarray:
    def size(height: int, width: int) -> tuple[int, int]:
        if min(height, width) < shorter_side:
            raise ValueError(
                f"{path}: found {width} × {height} pixels; allowed: at least {shorter_side} on both sides, which is "
                "data.options.shorter_side; remove the picture or lower the number"
            )
        scale = shorter_side / min(height, width)
        return round(height * scale), round(width * scale)

    return read_scaled_image(path, mode="RGB", scaled=size)


def _picture_files(folder: Path, entries: list[str], option: str) -> tuple[list[Path], int]:
    """Lists the pictures that an option names, alone or by their folders, and counts the other files there."""
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, str) for entry in entries):
        raise ValueError(f"data.{option}: found {entries!r}; allowed: a list of folders and files in {folder}")
    files: list[Path] = []
    ignored = 0
    for entry in entries:
        place = _existing(folder, entry, option)
        if not place.is_dir():
            files.append(place)
            continue
        pictures, other_files = image_paths(place)
        if not pictures:
            raise ValueError(f"{place}: this folder of {option} pictures has none; add some or name another folder")
        files += pictures
        ignored += other_files
    twice = sorted(path.relative_to(folder).as_posix() for path, count in Counter(files).items() if count > 1)
    if twice:
        raise ValueError(f"data.{option}: {twice[0]} is named twice; name every picture once")
    return files, ignored


def _existing(folder: Path, entry: str, option: str) -> Path:
    place = folder / entry
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; run `dvc repro` or put the pictures there")
    try:
        check_inside(folder, entry)
    except ValueError as error:
        raise ValueError(f"data.{option}: {error}") from None
    if not place.exists():
        there = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        raise ValueError(f"{place}: no such file or folder; {folder} has {', '.join(there[:8]) or 'nothing'}")
    return place
