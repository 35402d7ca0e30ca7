"""The cost of pictures to a model, in bits: its response to the test examples as a user has them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from pipeline.data.tables import Card
from pipeline.formats.image import read_image
from pipeline.tasks.image_generation.network import PixelModel
from pipeline.tasks.requests import files_of


@torch.inference_mode()
def bits_of(network: PixelModel, requests: pd.DataFrame, card: Card) -> pd.DataFrame:
    """Computes mean `bits` (N,) of a value for image files and their labels. Raises ValueError for an unknown label."""
    classes = [str(name) for name in card["classes"]]
    unknown = sorted(set(requests["label"].astype(str)) - set(classes))
    if unknown:
        raise ValueError(f"label: found {unknown[0]!r}; allowed: {', '.join(classes)}")
    labels = torch.tensor([classes.index(str(label)) for label in requests["label"]])
    mode = "L" if card["channels"] == 1 else "RGB"
    sides = {"height": card["height"], "width": card["width"]}
    pixels = np.stack(files_of(requests, "image", lambda file: read_image(file, mode=mode, **sides)))
    values = np.rint(pixels * ((card["values"] - 1) / 255)).astype(np.int64)
    images = torch.from_numpy((values * card["levels"] // card["values"]).astype(np.uint8))
    bits = network(images, labels).double().flatten(1).mean(1)
    return pd.DataFrame({"bits": bits.numpy()})
