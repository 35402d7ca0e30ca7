"""Records of one part, as a raw format yields them, before they are split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Images:
    """Pictures of one size, each with a label."""

    pixels: np.ndarray  # (N, C, H, W) uint8, 0 to maximum
    labels: np.ndarray  # (N,) integers or text
    maximum: int  # the value of white, 1 to 255
    names: list[str] | None  # of the files, in the order of the pixels; None where a file holds many pictures
    warnings: tuple[str, ...] = ()  # what the reader ignored
    files: Sequence[Path] | None = None  # the files themselves, in the same order


@dataclass(frozen=True)
class AnnotatedImages:
    """Pictures, each with any number of boxes around objects, brought to one size with their proportions kept.

    A picture is in the upper left corner and black fills the rest. Boxes are (left, top, right, bottom) in pixels
    of the picture as it is here, edges and not centres of pixels, and lie inside of it.
    """

    pixels: np.ndarray  # (N, C, H, W) uint8, 0 to 255
    sizes: np.ndarray  # (N, 2) int64, height and width in the file
    boxes: list[np.ndarray]  # N × (K, 4) float32
    labels: list[list[str]]  # N × K names of classes
    names: list[str]  # of the files
    warnings: tuple[str, ...] = ()
    files: list[Path] | None = None  # the files themselves, in the same order


@dataclass(frozen=True)
class Series:
    """One or more series over the same times."""

    values: np.ndarray  # (T, C) float64, NaN for missing
    times: np.ndarray  # (T,) datetime64[s], increasing
    columns: list[str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pairs:
    """Sentences and what they are called in another language, in the same order."""

    sources: list[str]
    targets: list[str]


@dataclass(frozen=True)
class LabelledSeries:
    """Series of their own lengths over the same channels, each with a label."""

    values: list[np.ndarray]  # (C, T) float64 each, T of its own; NaN for missing
    labels: np.ndarray  # (N,) integers or text
    channels: list[str]  # their names
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelledText:
    """Sentences, each with a label."""

    texts: list[str]
    labels: np.ndarray  # (N,) integers or text
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recordings:
    """Recordings of their own lengths, one channel each, and what is said in them."""

    samples: list[np.ndarray]  # (T,) int16 each, T of its own
    texts: list[str]
    speakers: list[str] | None  # None where they are not known
    names: list[str]  # of the files
    sample_rate: int  # samples a second
    warnings: tuple[str, ...] = ()
    sources: np.ndarray | None = None  # (N, S) digests of what each was joined of, see `joined`
    files: list[Path] | None = None  # the files themselves; None where recordings were joined


@dataclass(frozen=True)
class StyledPictures:
    """Squares of content pictures, whole style pictures, and the weights of the network that compares them."""

    squares: np.ndarray  # (N, 3, S, S) uint8, 0 to 255
    pictures: np.ndarray  # (N,) int64, increasing: which content picture each square is of
    names: list[str]  # of the content pictures' files
    files: list[Path]  # the files themselves, in the same order
    styles: list[np.ndarray]  # (3, H, W) uint8 each, H and W of its own
    style_names: list[str]
    perceptual: Path | None  # a file of published weights or a folder of a trained classifier; None: untrained
    warnings: tuple[str, ...] = ()


Records = AnnotatedImages | Images | LabelledSeries | LabelledText | Pairs | Recordings | Series | StyledPictures


def typed_labels(labels: list[str]) -> np.ndarray:
    """Returns labels as whole numbers where all are written as such, so that 10 comes after 9; as text otherwise."""
    texts = np.array(labels)
    try:
        numbers = texts.astype(np.int64)
    except (ValueError, OverflowError):
        return texts
    return numbers if (numbers.astype(str) == texts).all() else texts
