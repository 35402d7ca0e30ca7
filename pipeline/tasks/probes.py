"""Requests by which a served model is tried before anybody relies on it, and what has to come back.

They go along every dimension that a signature leaves open (how many, how long, how large, none at all). What a model
must answer to real test examples comes from the predictions that `evaluate` has stored, not from the model itself.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.tables import Card
from pipeline.tasks.classification import class_answer
from pipeline.tasks.requests import request_of_series

BATCHES = (1, 2, 7)
CLOSE = 1e-4  # as a difference of probabilities, and as a share of a forecast
BOX_CLOSE = 1e-2  # pixels


@dataclass(frozen=True)
class Probe:
    """One request: either an answer comes back, close to `answer` where that is known, or an error containing `error`.

    Of an answer the columns of `answer` count. Numbers may differ by `absolute` plus the share `relative` of what is
    expected; everything else is exact.
    """

    name: str
    request: pd.DataFrame
    answer: pd.DataFrame | None = None
    error: str | None = None
    absolute: float = 0.0
    relative: float = 0.0

    def document(self) -> dict[str, Any]:
        """Returns the probe as plain JSON; the request is what a user would send over HTTP."""
        return {
            "name": self.name,
            "request": _split(self.request),
            "answer": None if self.answer is None else _split(self.answer),
            "error": self.error,
            "absolute": self.absolute,
            "relative": self.relative,
        }


def image_probes(encoded: list[bytes], predictions: pd.DataFrame, card: Card) -> list[Probe]:
    """Lists requests: `encoded` are the first test images as files, `predictions` the rows stored of all images."""
    answers = class_answer(predictions[: len(encoded)], card)
    probes = []
    for size in BATCHES:
        rows = [row % len(encoded) for row in range(size)]
        request = pd.DataFrame({"image": [encoded[row] for row in rows]})
        answer = answers.iloc[rows].reset_index(drop=True)
        probes.append(Probe(f"{size} images", request, answer, absolute=CLOSE))
    probes += [Probe(f"an image of {side} × {side} pixels", _images(_blank(side))) for side in (1, 5, 64)]
    probes.append(Probe("no image", _images(), answers.iloc[:0]))
    probes.append(Probe("an empty file", _images(b""), error="not readable as an image"))
    return probes


def _blank(side: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (side, side), 128).save(stream, format="PNG")
    return stream.getvalue()


def _images(*files: bytes) -> pd.DataFrame:
    return pd.DataFrame({"image": pd.Series(list(files), dtype=object)})


def _split(frame: pd.DataFrame) -> dict[str, Any]:
    """Splits a frame into columns and rows; bytes in base64, as JSON carries them."""
    rows = [[_plain(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    return {"columns": [str(name) for name in frame.columns], "data": rows}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value.item() if isinstance(value, np.generic) else value


def translation_probes(predictions: pd.DataFrame) -> list[Probe]:
    """Lists batches of sentences, shorter and longer ones, none, and an empty one."""
    sources = predictions["source"].tolist()
    probes = []
    for size in BATCHES:
        rows = [row % len(sources) for row in range(size)]
        answer = pd.DataFrame({"translation": predictions["translation"].iloc[rows].to_numpy()})
        probes.append(Probe(f"{size} sentences", _texts(*(sources[row] for row in rows)), answer))
    probes += [Probe(name, _texts(text)) for name, text in (
        ("a word", sources[0].split()[0]), ("a long sentence", " ".join(sources[:5])), ("signs of no alphabet", "☃ ☃"),
    )]  # fmt: skip
    probes.append(Probe("no sentence", _texts(), pd.DataFrame({"translation": pd.Series([], dtype=object)})))
    probes.append(Probe("an empty sentence", _texts(" "), error="expected a sentence"))
    return probes


def _texts(*texts: str) -> pd.DataFrame:
    return pd.DataFrame({"text": pd.Series(list(texts), dtype=object)})


def labelled_series_probes(series: list[np.ndarray], predictions: pd.DataFrame, card: Card) -> list[Probe]:
    """Lists requests: `series` (C, T) are the first test examples, `predictions` the rows stored of all of them."""
    answers, probes = class_answer(predictions[: len(series)], card), []
    for size in BATCHES:
        rows = [row % len(series) for row in range(size)]
        answer = answers.iloc[rows].reset_index(drop=True)
        answer.insert(0, "series", [str(number) for number in range(1, size + 1)])
        request = request_of_series([series[row] for row in rows], card)
        probes.append(Probe(f"{size} series", request, answer, absolute=CLOSE))
    first = series[0]
    variants = {"one step": first[:, :1], "half": first[:, : -(-first.shape[1] // 2)], "three times": np.tile(first, 3)}
    for name, values in variants.items():
        probes.append(Probe(f"{name} of a series beside a whole one", request_of_series([values, first], card)))
    gap = request_of_series([first, first], card)
    gap.loc[gap["series"] == "2", card["columns"][-1]] = np.nan
    probes.append(Probe("a series without a value", gap, error="has no value at all"))
    probes.append(Probe("no series", gap.iloc[:0], answers.iloc[:0]))
    return probes


def detection_probes(encoded: list[bytes], predictions: pd.DataFrame, card: Card) -> list[Probe]:
    """Lists requests: `encoded` are the first test pictures as files, `predictions` the boxes stored of all of them."""
    classes = [str(name) for name in card["classes"]]
    boxes = predictions[predictions["predicted"] >= 0]
    answers = pd.DataFrame({"example": boxes["example"], "class": [classes[label] for label in boxes["predicted"]]})
    answers = answers.join(boxes[["confidence", "left", "top", "right", "bottom"]])
    probes = []
    for size in BATCHES:
        rows = [row % len(encoded) for row in range(size)]
        request = pd.DataFrame({"image": [encoded[row] for row in rows]})
        parts = [answers[answers["example"] == row].assign(example=place) for place, row in enumerate(rows)]
        answer = pd.concat(parts, ignore_index=True).rename(columns={"example": "image"})
        probes.append(Probe(f"{size} pictures", request, answer, absolute=BOX_CLOSE, relative=CLOSE))
    probes += [Probe(f"a picture of {side} × {side} pixels", _images(_blank(side))) for side in (1, 64, 700)]
    probes.append(Probe("no picture", _images(), pd.DataFrame({name: [] for name in ("image", *answers.columns[1:])})))
    probes.append(Probe("an empty file", _images(b""), error="not readable as an image"))
    return probes
