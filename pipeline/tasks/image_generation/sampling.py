"""Pictures drawn from a model of pixels, for evaluation and for requests.

Draws are keyed by (seed, number) and computed in double precision. A picture therefore depends neither on how many
others are drawn with it nor on the number of threads: a rounding error of single precision would now and then change a
pixel, and with it all that follow.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline.data.tables import Batch, Card
from pipeline.formats.image import png
from pipeline.models.raster import IncrementalSampler
from pipeline.tasks.image_generation.network import PixelModel

TOGETHER = 256  # pictures that are drawn side by side
MOST = 1000  # pictures of one request
MOST_SEED = 2**53  # beyond which not every whole number is exact in JSON
SHOWN = 10  # samples of every class that are kept, and as many real pictures with the bits of every pixel
ANSWER = ("request", "label", "image")


@dataclass(frozen=True)
class Draws:
    """The classes and random numbers that N pictures are drawn from."""

    labels: np.ndarray  # (N,) int64 classes
    uniforms: np.ndarray  # (N, C, H, W) float64 from 0 to 1, one number for every value


def evaluation_draws(count: int, card: Card) -> Draws:
    """Returns draws where picture k is of class k modulo the number of classes, with the seed k."""
    labels = np.arange(count) % len(card["classes"])
    return draws_of([(seed, 0, int(label)) for seed, label in enumerate(labels)], card)


def draws_of(keys: Iterable[tuple[int, int, int | None]], card: Card) -> Draws:
    """Returns draws for (seed, number, class); without a class it is drawn, as often as train has it."""
    counts = np.array([card["class_counts"]["train"][name] for name in card["classes"]], dtype=np.float64)
    bounds = counts.cumsum() / counts.sum()
    shape = (card["channels"], card["height"], card["width"])
    labels, uniforms = [], []
    for seed, number, label in keys:
        generator = np.random.default_rng([seed, number])
        chosen = min(int(np.searchsorted(bounds, generator.random(), side="right")), len(bounds) - 1)
        labels.append(chosen if label is None else label)
        uniforms.append(generator.random(shape))
    return Draws(np.array(labels, dtype=np.int64), np.array(uniforms).reshape(-1, *shape))


@torch.inference_mode()
def drawn(network: PixelModel, draws: Draws) -> np.ndarray:
    """Draws (N, C, H, W) uint8 levels."""
    exact = copy.deepcopy(network).double().eval()
    parts = [np.zeros(draws.uniforms.shape, dtype=np.uint8)[:0]]
    for start in range(0, len(draws.labels), TOGETHER):
        labels = torch.from_numpy(draws.labels[start : start + TOGETHER])
        uniforms = torch.from_numpy(draws.uniforms[start : start + TOGETHER])
        parts.append(_drawn(exact, labels, uniforms).numpy())
    return np.concatenate(parts)


def _drawn(network: PixelModel, labels: Tensor, uniforms: Tensor) -> Tensor:
    """Draws row by row and pixel by pixel, all pictures side by side."""
    assert network.encoder.raster is not None
    walk, around = IncrementalSampler(network.encoder.raster), network.surroundings(labels)  # (B, S, H, W + 1)
    levels = torch.zeros(uniforms.shape, dtype=torch.uint8)
    channels, height, width = uniforms.shape[1:]
    above = around.new_zeros(len(labels), channels + around.shape[1], width + 1)
    for row in range(height):
        walk.next_row(above)
        pixel, heard = around.new_zeros(len(labels), channels), []
        for column in range(width):
            heard.append(torch.cat([pixel, around[:, :, row, column]], dim=1))
            features = walk.next(heard[-1])
            pixel, levels[:, :, row, column] = _pixel(network, features, uniforms[:, :, row, column])
        heard.append(torch.cat([pixel, around[:, :, row, width]], dim=1))
        above = torch.stack(heard, dim=2)
    return levels


def _pixel(network: PixelModel, features: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Draws by (B, F) and (B, C) the values (B, C) from -1 to 1 of a pixel, channel after channel, and their levels."""
    values, levels = features.new_zeros(len(features), 0), []
    for channel in range(uniforms.shape[1]):
        outputs = network.outputs(features[:, :, None, None], values[:, :, None, None])[:, 0, 0]
        levels.append(level_at(network.bounds(outputs), uniforms[:, channel]))
        values = torch.cat([values, network.scaled(levels[-1])[:, None]], dim=1)
    return values, torch.stack(levels, dim=1).to(torch.uint8)


def level_at(bounds: Tensor, uniforms: Tensor) -> Tensor:
    """Finds the levels (…) on which (…) numbers from 0 to 1 fall, by (…, levels) chances of a level or one below it."""
    return (bounds <= uniforms[..., None] * bounds[..., -1:]).sum(-1).clamp_max(bounds.shape[-1] - 1)


def prediction_table(
    bits: np.ndarray, examples: Batch, samples: np.ndarray, sample_labels: np.ndarray, card: Card
) -> pd.DataFrame:
    """Builds one row per real picture: its mean bits, and the class that a classifier trained on the samples gives it.

    The first rows also keep the first samples, one each, and the bits (H, W) of their pixels as float16. Samples are
    those of `evaluation_draws`.
    """
    count, classes = len(bits), len(card["classes"])
    kept = min(count, len(samples), SHOWN * classes)
    table = pd.DataFrame({"example": np.arange(count), "label": examples["labels"].cpu().numpy()})
    table["bits"] = bits.reshape(count, -1).mean(1)
    table["predicted"] = _classified(samples, sample_labels, examples["images"].cpu().numpy(), card)
    table["sample_label"] = np.concatenate([sample_labels[:kept], np.full(count - kept, -1)])
    files = [png(sample, card["maximum"]) for sample in samples[:kept]]
    table["sample"] = pd.Series(files + [b""] * (count - kept), dtype=object)
    maps = [image.mean(0).astype("<f2").tobytes() for image in bits[:kept]]
    table["pixel_bits"] = pd.Series(maps + [b""] * (count - kept), dtype=object)
    return table


def _classified(samples: np.ndarray, labels: np.ndarray, images: np.ndarray, card: Card) -> np.ndarray:
    """Returns (N,) classes of real pictures by logistic regression on samples, where these are of several classes."""
    from sklearn.linear_model import LogisticRegression

    if len(card["classes"]) == 1:
        return np.zeros(len(images), dtype=np.int64)

    def flat(pictures: np.ndarray) -> np.ndarray:
        return pictures.reshape(len(pictures), -1) / float(card["maximum"])

    classifier = LogisticRegression(C=0.1, max_iter=1000).fit(flat(samples), labels)
    return np.array(classifier.predict(flat(images)), dtype=np.int64)


def requested(request: pd.DataFrame, card: Card) -> tuple[list[int], Draws]:
    """Returns the row of the request that each picture belongs to, and its draws. Raises ValueError with the row."""
    if "samples" not in request:
        raise ValueError(
            f"found the columns {list(request.columns)}; expected `samples` (how many pictures), and where wanted "
            "`label` (their class) and `seed`"
        )
    classes = [str(name) for name in card["classes"]]
    rows: list[int] = []
    keys: list[tuple[int, int, int | None]] = []
    for row, count in enumerate(request["samples"]):
        pictures = _whole(count, f"row {row}, samples", 1, MOST)
        seed = _whole(_optional(request, "seed", row, 0), f"row {row}, seed", 0, MOST_SEED)
        label = _optional(request, "label", row, None)
        if label is not None and str(label) not in classes:
            raise ValueError(f"row {row}, label: found {label!r}; allowed: {', '.join(classes)}, or none")
        place = None if label is None else classes.index(str(label))
        keys += [(seed, number, place) for number in range(pictures)]
        rows += [row] * pictures
        if len(rows) > MOST:
            raise ValueError(f"the request asks for more than {MOST} pictures; send several requests")
    return rows, draws_of(keys, card)


def _optional(request: pd.DataFrame, name: str, row: int, otherwise: Any) -> Any:
    value = request[name].iloc[row] if name in request else None
    return otherwise if value is None or value != value else value  # NaN differs from itself


def _whole(value: Any, place: str, low: int, high: int) -> int:
    value = value.item() if isinstance(value, np.generic) else value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high or int(value) != value:  # NaN lies between no limits
        raise ValueError(f"{place}: found {value!r}; allowed: a whole number from {low} to {high}")
    return int(value)


def answer_table(rows: list[int], draws: Draws, pictures: np.ndarray, card: Card) -> pd.DataFrame:
    """Builds one row per picture: the row of the request, the class, and a PNG file."""
    classes = [str(name) for name in card["classes"]]
    answer = pd.DataFrame({"request": np.array(rows, dtype=np.int64)})
    answer["label"] = pd.Series([classes[label] for label in draws.labels], dtype=object)
    answer["image"] = pd.Series([png(picture, card["maximum"]) for picture in pictures], dtype=object)
    return answer
