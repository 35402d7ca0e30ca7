"""Requests by which a served style transfer is tried (see probes.py)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.data.tables import Table
from pipeline.formats.image import png
from pipeline.tasks.probes import BATCHES, Probe
from pipeline.tasks.style_transfer.baselines import COLOURS, SMALLEST

CLOSE = 0.05  # colours, of 255, by which the mean of a picture may differ from machine to machine


def style_probes(table: Table, predictions: pd.DataFrame) -> list[Probe]:
    """Lists batches of test pictures, whose mean colours are known, and pictures of other sizes."""
    images = table["images"][: max(BATCHES)].numpy()
    files = [png(image) for image in images]
    side = images.shape[2]
    answers = predictions[list(COLOURS)].assign(height=side, width=side)
    probes = []
    for size in BATCHES:
        rows = [row % len(files) for row in range(size)]
        request = pd.DataFrame({"image": [files[row] for row in rows]})
        probes.append(Probe(f"{size} pictures", request, answers.iloc[rows].reset_index(drop=True), absolute=CLOSE))
    for height, width in ((33, 70), (64, 32)):
        known = pd.DataFrame({"height": [height], "width": [width]})
        blank = np.full((3, height, width), 128, dtype=np.uint8)
        probes.append(Probe(f"a picture of {width} × {height} pixels", _request(png(blank)), known))
    probes.append(Probe("no picture", _request(), answers.iloc[:0]))
    small = png(np.zeros((3, SMALLEST - 1, SMALLEST), dtype=np.uint8))
    probes.append(Probe("a picture that is too small", _request(small), error=f"at least {SMALLEST} on both sides"))
    probes.append(Probe("an empty file", _request(b""), error="not readable as an image"))
    return probes


def _request(*files: bytes) -> pd.DataFrame:
    return pd.DataFrame({"image": pd.Series(list(files), dtype=object)})
