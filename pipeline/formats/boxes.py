"""Pictures with boxes around objects: read by several threads, brought to one size, boxes checked and moved along."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.formats.glance import glanced
from pipeline.formats.image import fitted_size, read_fitted_image
from pipeline.formats.records import AnnotatedImages


@dataclass(frozen=True)
class Annotation:
    """The contents of an annotation file about one picture."""

    picture: Path
    size: tuple[int, int] | None  # height and width, where the annotation has them
    boxes: list[tuple[float, float, float, float]]  # left, top, right, bottom in pixels of the file
    labels: list[str]


def annotated_images(
    folder: Path, annotations: Sequence[Annotation], *, height: int, width: int, mode: str, warnings: Sequence[str] = ()
) -> AnnotatedImages:
    """Reads the pictures. Raises ValueError for one that is broken or not of the size that its annotation states.

    A box beyond its picture is cut, and one without area is left out; both are counted in the warnings.
    """
    annotations = glanced(annotations)
    pixels = np.empty((len(annotations), 3 if mode == "RGB" else 1, height, width), dtype=np.uint8)
    sizes = np.empty((len(annotations), 2), dtype=np.int64)
    read = partial(read_fitted_image, height=height, width=width, mode=mode)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding lets other threads run; map keeps the order
        for row, (picture, size) in enumerate(pool.map(read, [entry.picture for entry in annotations])):
            pixels[row], sizes[row] = picture, size
    boxes, labels, empty, cut = [], [], [], []
    for entry, own in zip(annotations, sizes.tolist(), strict=True):
        _check_size(entry, own)
        corners = np.array(entry.boxes, dtype=np.float64).reshape(-1, 4)
        inside = np.clip(corners, 0, [own[1], own[0], own[1], own[0]])
        kept = (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
        empty += [entry.picture] * int((~kept).sum())
        cut += [entry.picture] * int((inside != corners)[kept].any(axis=1).sum())
        boxes.append((inside[kept] * _scale(own, height, width)).astype(np.float32))
        labels.append([label for label, is_kept in zip(entry.labels, kept, strict=True) if is_kept])
    messages = [*warnings, *_counted(empty, "without area in the picture left out", folder)]
    messages += _counted(cut, "cut at the edge of the picture", folder)
    names = [entry.picture.relative_to(folder).as_posix() for entry in annotations]
    files = [entry.picture for entry in annotations]
    return AnnotatedImages(pixels, sizes, boxes, labels, names, tuple(messages), files)


def _scale(size: Sequence[int], height: int, width: int) -> np.ndarray:
    """Returns the (4,) factors of the coordinates of the file."""
    inner = fitted_size(size[0], size[1], height, width)
    across, down = inner[1] / size[1], inner[0] / size[0]
    return np.array([across, down, across, down])


def _check_size(entry: Annotation, size: Sequence[int]) -> None:
    if entry.size is not None and list(entry.size) != list(size):
        annotated, actual = (f"{width} × {height}" for height, width in (entry.size, size))
        raise ValueError(
            f"{entry.picture}: the picture has {actual} pixels, but its annotation was made for {annotated}; its boxes "
            "would be in wrong places. Put the picture back that was annotated, or correct the annotation"
        )


def _counted(pictures: list[Path], what: str, folder: Path) -> list[str]:
    if not pictures:
        return []
    first = pictures[0].relative_to(folder).as_posix()
    return [f"{len(pictures)} box{'' if len(pictures) == 1 else 'es'} {what} (first: {first})"]
