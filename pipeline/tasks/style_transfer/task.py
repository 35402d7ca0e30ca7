"""Style transfer: a picture painted anew in the manner of another one, in a single pass of a network.

The network learns from a second one, which stays as it is and compares features: those of the content picture should
be found again, and how those of the style picture go together (Gatys et al. 2016; Johnson et al. 2016). This perceptual
network and the statistics of the style are part of the prepared tables; the served model does without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.tables import Batch, Card, Prepared, Table
from pipeline.models.encoder import check_ranges
from pipeline.tasks.settings import NAMES, POSITIVE, whole
from pipeline.tasks.style_transfer.network import SEEN, PerceptualLoss, StyleNetwork
from pipeline.tasks.task import Encoders, Task

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe


class StyleTransfer(Task):
    score = "content_and_style_loss"
    maximize = False
    dimensions = 2
    reads = "picture"
    dependent = True  # squares of one picture follow each other
    references = frozenset({"optimised"})
    MATCHING = ("style_digests",)
    SETTINGS: ClassVar = {
        "content_layers": NAMES, "style_layers": NAMES, "content_weight": POSITIVE, "style_weight": POSITIVE,
        "iterations": whole(1, 10_000),
    }  # fmt: skip
    ANSWERING = frozenset({"iterations"})
    RANGES: ClassVar = {"decoder_width": (4, 512), "window": (16, 4096), "zoom": (0.0, 1.0)}

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.judge: PerceptualLoss | None = None  # of the tables that were looked at last
        self.judged: tuple[Tensor, tuple[Tensor, Tensor, Tensor]] | None = None  # pictures and their losses, the last
        self.optimised: pd.DataFrame | None = None  # what the baseline has made of the test pictures

    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        from pipeline.tasks.style_transfer.preparation import prepare_pictures
        from pipeline.tasks.style_transfer.targets import with_targets

        return with_targets(prepare_pictures(dict(parts), split, seed), parts, self.settings, seed)

    def examples(self, table: Table, card: Card) -> Batch:
        """Keeps the perceptual network of the table, by which `loss` and `predict` judge."""
        self.judge = PerceptualLoss(table, card, self.settings)
        return {"images": table["images"]}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, decoder_width: int, window: int, flip: bool, zoom: float
    ) -> StyleNetwork:
        check_ranges(self.RANGES, decoder_width=decoder_width, window=window, zoom=zoom)
        least, most = card["perceptual"]["least"], min(card["height"], card["width"])
        if not least <= window <= most:
            allowed = f"pixels from {least}, which the perceptual network needs, to {most}, the side of the squares"
            raise ValueError(f"window: found {window}; allowed: {allowed}")
        return StyleNetwork(encoders(SEEN), decoder_width=decoder_width, window=window, flip=flip, zoom=zoom)

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        """Takes a window at any place, mirrored and enlarged, of every picture by its own draw."""
        assert isinstance(network, StyleNetwork)
        images = batch["images"].float()
        (count, _, height, width), device = images.shape, images.device
        seen = (1 + network.zoom) ** -torch.rand(count, device=device) * network.window  # pixels of a side
        mirror = (torch.rand(count, device=device) < 0.5) & network.flip
        zero, across, down = torch.zeros_like(seen), seen / width, seen / height
        middles = [(2 * torch.rand(count, device=device) - 1) * (1 - share) for share in (across, down)]
        rows = [[across.where(~mirror, -across), zero, middles[0]], [zero, down, middles[1]]]
        moved = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # (B, 2, 3)
        lattice = functional.affine_grid(moved, [count, 3, *[network.window] * 2], align_corners=False)
        return {**batch, "images": functional.grid_sample(images, lattice, padding_mode="border", align_corners=False)}

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        return network(batch["images"])  # type: ignore[no-any-return]

    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        return self._judged(output, batch["images"])[-1].mean()

    def scores(self, output: Tensor, batch: Batch, card: Card) -> Tensor:
        return self._judged(output, batch["images"])[-1]

    @torch.inference_mode()
    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        """Predicts one picture at a time, as the served model answers: sums in a batch are rounded in another order."""
        from pipeline.tasks.style_transfer.baselines import prediction_table

        made = [network(picture) for picture in torch.split(examples["images"], 1)]
        judged = [self._judged(*pair) for pair in zip(made, torch.split(examples["images"], 1), strict=True)]
        return prediction_table(torch.cat(made), judged)

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        from pipeline.tasks.style_transfer.baselines import LOSSES

        return {name: weights @ predictions[name].to_numpy() / weights.sum(1) for name in LOSSES}

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        return predictions[self.score].to_numpy(np.float64)

    def block(self, card: Card) -> int:
        return 2 * int(card["squares"])  # twice as far as the squares of one picture reach

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.style_transfer.baselines import classical_pictures

        methods = classical_pictures(
            PerceptualLoss(tables["test"], card, self.settings), tables, self.settings["iterations"]
        )
        self.optimised = methods["optimised"]["test"]
        return methods

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.style_transfer.guesses import style_guesses

        return style_guesses(PerceptualLoss(tables["test"], card, self.settings), tables)

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.style_transfer.baselines import before_and_after

        return [before_and_after(predictions, self.optimised, table, folder / "pictures.png", title)]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.formats.image import png

        return pd.DataFrame({"image": [png(image) for image in table["images"][:2].numpy()]})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.tasks.style_transfer.baselines import answer_table, decoded

        with torch.inference_mode():
            return answer_table([network(torch.tensor(picture)[None]) for picture in decoded(request)])

    def predictions_of(self, responses: pd.DataFrame, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.style_transfer.baselines import predictions_of

        return predictions_of(PerceptualLoss(table, card, self.settings), responses, table["images"])

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.style_transfer.probes import style_probes

        return style_probes(table, predictions)

    def _judged(self, pictures: Tensor, contents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (B,) content losses, style losses and both together; validation asks twice for the same pictures."""
        assert self.judge is not None, "`examples` comes first"
        if self.judged is not None and self.judged[0] is pictures:
            return self.judged[1]
        content, style = self.judge.losses(pictures, self.judge.content(contents))
        losses = content, style, self.judge.total(content, style)
        self.judged = None if pictures.requires_grad else (pictures, losses)
        return losses
