"""Style transfer without a model: the content as it is, and one colour."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from pipeline.data.tables import Table
from pipeline.tasks.style_transfer.baselines import judged_pictures, prediction_table
from pipeline.tasks.style_transfer.network import PerceptualLoss


def style_guesses(judge: PerceptualLoss, tables: Mapping[str, Table]) -> dict[str, dict[str, pd.DataFrame]]:
    """Guesses `unchanged_content`, and `mean_colour`: every pixel of every picture has the mean colour of train."""
    train = tables["train"]["images"]
    colour = torch.stack([image.double().mean((1, 2)) for image in train]).mean(0).float().view(1, 3, 1, 1)
    guessed: dict[str, dict[str, pd.DataFrame]] = {"unchanged_content": {}, "mean_colour": {}}
    for split in ("validation", "test"):
        contents = [image.float() for image in torch.split(tables[split]["images"], 1)]
        even = [colour.expand_as(content).contiguous() for content in contents]
        guessed["unchanged_content"][split] = _judged(judge, contents, contents)
        guessed["mean_colour"][split] = _judged(judge, even, contents)
    return guessed


def _judged(judge: PerceptualLoss, pictures: list[Tensor], contents: list[Tensor]) -> pd.DataFrame:
    return prediction_table(torch.cat(pictures), list(judged_pictures(judge, pictures, contents)))
