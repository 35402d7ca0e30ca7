"""Style transfer around the network: the baselines, prediction tables, pictures and answers."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline.data.tables import Table
from pipeline.figures import figure, save
from pipeline.formats.image import png, read_scaled_image
from pipeline.tasks.style_transfer.network import WHITE, PerceptualLoss

LOSSES = ("content_loss", "style_loss", "content_and_style_loss")
COLOURS = ("red", "green", "blue")
SMALLEST, LARGEST = 32, 1024  # pixels of a side that a served model takes, and that it answers
EDGE = 0.01  # how near to black and white the colours are from which an optimisation starts
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way from the colours of the content to those of the style
HISTORY = 20  # steps that the optimisation remembers
SHOWN = 6  # pictures in a figure


def prediction_table(pictures: Tensor, judged: Sequence[Sequence[Tensor]]) -> pd.DataFrame:
    """Builds one row per picture (N, 3, H, W): its losses, the mean of its colours, and itself as a PNG file.

    judged: N × content, style and total loss, each (1,).
    """
    table = pd.DataFrame({"example": np.arange(len(pictures))})
    for place, name in enumerate(LOSSES):
        table[name] = torch.cat([losses[place] for losses in judged]).double().cpu().numpy()
    return table.join(_described(pictures))


def classical_pictures(
    judge: PerceptualLoss, tables: Mapping[str, Table], iterations: int
) -> dict[str, dict[str, pd.DataFrame]]:
    """Moves colours to those of the style, and optimises the pixels themselves, which takes its time."""
    optimised_ones = optimised_predictions(judge, tables, iterations)
    return {"recoloured": recoloured_predictions(judge, tables), "optimised": optimised_ones}


def predictions_of(judge: PerceptualLoss, responses: pd.DataFrame, contents: Tensor) -> pd.DataFrame:
    """Builds the prediction table of the pictures that a served model has answered to contents (N, 3, S, S)."""
    pictures = [
        torch.from_numpy(_opened(file).transpose(2, 0, 1).copy())[None].float() for file in responses["picture"]
    ]
    return prediction_table(torch.cat(pictures), list(judged_pictures(judge, pictures, torch.split(contents, 1))))


def optimised_predictions(
    judge: PerceptualLoss, tables: Mapping[str, Table], iterations: int
) -> dict[str, pd.DataFrame]:
    """Optimises as Gatys et al. (2016), picture by picture."""
    predictions = {}
    for split in ("validation", "test"):
        contents = torch.split(tables[split]["images"], 1)
        pictures = [optimised(judge, content, iterations) for content in contents]
        predictions[split] = prediction_table(torch.cat(pictures), list(judged_pictures(judge, pictures, contents)))
    return predictions


def optimised(judge: PerceptualLoss, content: Tensor, iterations: int) -> Tensor:
    """Returns (1, 3, H, W), the picture of the lowest loss that L-BFGS finds, beginning with the content itself.

    Colours are kept in their range by a sigmoid, so that no step leads out of it.
    """
    kept = judge.content(content)
    start = (content.float() / WHITE).clamp(EDGE, 1 - EDGE)
    free = torch.logit(start).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [free], max_iter=iterations, max_eval=2 * iterations, history_size=HISTORY, tolerance_grad=0.0,
        tolerance_change=0.0, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = judge.total(*judge.losses(torch.sigmoid(free) * WHITE, kept)).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return torch.sigmoid(free.detach()) * WHITE


def recoloured_predictions(judge: PerceptualLoss, tables: Mapping[str, Table]) -> dict[str, pd.DataFrame]:
    """Moves colours towards the mean and the deviation of those of the style (Reinhard et al. 2001).

    How far, the same for all pictures, is picked on validation.
    """
    style = tables["train"]["style"].float()[None]

    def predictions(split: str, share: float) -> pd.DataFrame:
        contents = torch.split(tables[split]["images"], 1)
        pictures = [torch.lerp(content.float(), recoloured(content.float(), style), share) for content in contents]
        return prediction_table(torch.cat(pictures), list(judged_pictures(judge, pictures, contents)))

    candidates = {share: predictions("validation", share) for share in SHARES}
    best = min(candidates, key=lambda share: float(candidates[share][LOSSES[-1]].mean()))
    return {"validation": candidates[best], "test": predictions("test", best)}


def recoloured(content: Tensor, style: Tensor) -> Tensor:
    """Moves mean and deviation of the colours of the content to those of the style: (1, 3, H, W) → (1, 3, H, W)."""
    own, wanted = (torch.std_mean(picture, dim=(2, 3), keepdim=True) for picture in (content, style))
    return ((content - own[1]) / own[0].clamp_min(1.0) * wanted[0] + wanted[1]).clamp(0, WHITE)


@torch.inference_mode()
def judged_pictures(
    judge: PerceptualLoss, pictures: Sequence[Tensor], contents: Sequence[Tensor]
) -> Iterator[list[Tensor]]:
    """Yields content, style and total loss of each picture (1, 3, H, W) as an answer to its content."""
    for picture, content in zip(pictures, contents, strict=True):
        losses = judge.losses(picture, judge.content(content))
        yield [*losses, judge.total(*losses)]


def _described(pictures: Tensor) -> pd.DataFrame:
    means = pictures.double().mean((2, 3)).cpu().numpy()
    table = pd.DataFrame({name: means[:, place] for place, name in enumerate(COLOURS)})
    table["picture"] = pd.Series([png(in_bytes(picture)) for picture in pictures], dtype=object)
    return table


def in_bytes(picture: Tensor) -> np.ndarray:
    """Rounds a picture to (3, H, W) uint8."""
    rounded: np.ndarray = picture.round().clamp(0, WHITE).to(torch.uint8).cpu().numpy()
    return rounded


def decoded(request: pd.DataFrame) -> list[np.ndarray]:
    """Decodes pictures to (3, H, W) uint8. Raises ValueError with the row of what is not a picture, or too small."""
    from pipeline.tasks.requests import files_of

    return files_of(request, "image", lambda file: read_scaled_image(file, mode="RGB", scaled=_served_size))


def _served_size(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, LARGEST / max(height, width))
    size = round(height * scale), round(width * scale)
    if min(size) < SMALLEST:
        raise ValueError(f"found {width} × {height} pixels; allowed: at least {SMALLEST} on both sides")
    return size


def answer_table(pictures: Sequence[Tensor]) -> pd.DataFrame:
    """Builds one row per picture: the PNG file, its size, and the mean of its colours."""
    rows = [_described(picture)[[*COLOURS, "picture"]] for picture in pictures]
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({name: [] for name in (*COLOURS, "picture")})
    table["height"] = [int(picture.shape[2]) for picture in pictures]
    table["width"] = [int(picture.shape[3]) for picture in pictures]
    return table[["picture", "height", "width", *COLOURS]]


def before_and_after(
    predictions: pd.DataFrame, optimised_ones: pd.DataFrame | None, table: Table, path: Path, title: str
) -> Path:
    """Draws content, its answer, and what the optimisation makes of it, with the losses; the style to the left."""
    examples = np.unique(np.linspace(0, len(predictions) - 1, SHOWN).astype(int)).tolist()
    rows: list[tuple[str, pd.DataFrame | None]] = [("content", None), (title, predictions)]
    rows += [] if optimised_ones is None else [("optimised", optimised_ones)]
    drawn = figure(1.6 * (len(examples) + 1), 1.85 * len(rows) + 0.3)
    grid = drawn.subplots(len(rows), len(examples) + 1, squeeze=False)
    drawn.suptitle(f"{title}: content, answer{' and optimised pixels' if len(rows) > 2 else ''}, with their losses")
    for axes in grid.flat:
        axes.axis("off")
    grid[0, 0].imshow(table["style"].numpy().transpose(1, 2, 0))
    grid[0, 0].set_title("style", fontsize=8)
    for down, (_, answers) in enumerate(rows):
        for across, example in enumerate(examples):
            axes = grid[down, across + 1]
            if answers is None:
                axes.imshow(table["images"][example].numpy().transpose(1, 2, 0))
                axes.set_title(f"test square {example}", fontsize=8)
            else:
                entry = answers.iloc[example]
                axes.imshow(_opened(entry["picture"]))
                axes.set_title(f"{entry[LOSSES[-1]]:.3g}", fontsize=8)
    return save(drawn, path)


def _opened(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))
