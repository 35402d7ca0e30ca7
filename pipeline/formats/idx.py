"""IDX, the format of MNIST (LeCun, Cortes, Burges 1998): a big-endian header, then bytes; often gzipped."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from pipeline.formats.csv import DAMAGED, opened, raw_file

IMAGES, LABELS = 2051, 2049  # magic numbers: unsigned bytes in three dimensions and in one


def read_idx(folder: Path, name: str, magic: int) -> np.ndarray:
    """Reads (N, H, W) or (N,) uint8. Raises ValueError for another magic number, a short or a damaged file."""
    path = raw_file(folder, name)
    try:
        with opened(path) as stream:
            data = stream.read()
    except DAMAGED as error:
        raise ValueError(f"{path}: the gzip file is damaged ({error}); fetch it again") from None
    dimensions = magic % 256
    start = 4 + 4 * dimensions
    actual = int.from_bytes(data[:4], "big")
    if len(data) >= 4 and actual != magic:
        allowed = f"{magic} ({_meaning(magic)}){_swapped(actual)}"
        raise ValueError(f"{path}: found the magic number {actual}; allowed: {allowed}")
    if len(data) < start:
        raise ValueError(f"{path}: found {len(data)} bytes, too few for the header of an IDX file; fetch it again")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    expected = start + math.prod(shape)
    if len(data) != expected:
        raise ValueError(f"{path}: found {len(data)} bytes where the header promises {expected}; fetch it again")
    if 0 in shape:
        raise ValueError(f"{path}: the header says {' × '.join(map(str, shape))}, which is nothing; fetch it again")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _meaning(magic: int) -> str:
    return "images" if magic == IMAGES else "labels"


def _swapped(magic: int) -> str:
    return f"; it holds {_meaning(magic)}, are images and labels swapped?" if magic in (IMAGES, LABELS) else ""
