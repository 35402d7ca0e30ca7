"""The features by which the pictures of a style transfer are judged: made once, and kept in the tables with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pipeline.data.tables import Prepared
from pipeline.formats.records import StyledPictures
from pipeline.tasks.style_transfer.network import PerceptualLoss, gram
from pipeline.tasks.style_transfer.perceptual import as_tables, perceptual_stack

SEEN = 64  # squares of train on which the size of features is measured


@torch.inference_mode()
def with_targets(prepared: Prepared, parts: Mapping[str, Any], settings: Mapping[str, Any], seed: int) -> Prepared:
    """Adds to every table the weights of the perceptual network, `gram.<layer>` (C, C) float32, the mean over the style
    pictures, and `style` (3, S, S) uint8, the middle of the first of them; and to the card what the weights are.

    Raises ValueError where settings name layers that the perceptual network does not have.
    """
    record: StyledPictures = next(iter(parts.values()))
    wanted = list(dict.fromkeys([*settings["content_layers"], *settings["style_layers"]]))
    stack = perceptual_stack(record.perceptual, wanted, seed)
    least = _least_size(prepared.card["height"], [layer.pooled for layer in stack.layers])
    described: dict[str, Any] = {
        "source": "untrained" if record.perceptual is None else record.perceptual.name,
        "layers": [{"name": layer.name, "pooled": layer.pooled} for layer in stack.layers],
        "least": least,  # pixels of a side that it can judge
        "mean": stack.mean,
        "deviation": stack.deviation,
    }
    fixed = as_tables(stack)
    judge = PerceptualLoss(
        {name: torch.from_numpy(value) for name, value in fixed.items()}, {"perceptual": described}, settings
    )
    squares = torch.from_numpy(prepared.tables["train"]["images"][:SEEN])
    seen = judge.features(squares, settings["content_layers"])
    described["scales"] = {name: float(features.square().mean()) for name, features in seen.items()}
    fixed |= _style_statistics(judge, record.styles, settings["style_layers"])
    fixed["style"] = _middle(record.styles[0], prepared.card["height"])
    tables = {split: {**table, **fixed} for split, table in prepared.tables.items()}
    return replace(prepared, tables=tables, card={**prepared.card, "perceptual": described})


def _style_statistics(judge: PerceptualLoss, styles: Sequence[np.ndarray], layers: list[str]) -> dict[str, np.ndarray]:
    per_style = [judge.features(torch.from_numpy(style.copy())[None], layers) for style in styles]
    return {
        f"gram.{name}": torch.stack([gram(features[name])[0] for features in per_style]).mean(0).numpy()
        for name in layers
    }


def _middle(picture: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in picture.shape[1:])
    return picture[:, top : top + side, left : left + side]


def _least_size(side: int, pooled: Sequence[bool]) -> int:
    """Returns the side of the smallest pictures that can be judged. Raises ValueError where the squares are smaller."""
    least: int = 4 * 2 ** sum(pooled)
    if side < least:
        raise ValueError(
            f"data.options.size: found {side}; allowed: at least {least} for the layers that settings name, which "
            f"halve a picture {sum(pooled)} times"
        )
    return least
