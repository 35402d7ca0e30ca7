"""Object detection: boxes around objects and their classes, from a dense head on the features of a grid.

Every cell of the features answers at once and without anchors, as in FCOS (Tian et al. 2019): how sure it is of each
class, how well its box will fit, and how far the four sides of the box are away. Cells near the middle of a true box
learn to answer for it; the others learn to report nothing.
"""

from __future__ import annotations

import math
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
from pipeline.tasks.object_detection.network import HALF, SURE, Detector, area, overlaps
from pipeline.tasks.settings import SHARE, whole
from pipeline.tasks.task import Encoders, Task

if TYPE_CHECKING:
    from pipeline.tasks.probes import Probe

ALPHA, GAMMA = 0.25, 2.0  # of the focal loss
BOX_WEIGHT = 2.0  # of the loss of the boxes, relative to those of classes and fit
VISIBLE = 0.4  # share of a box that augmentation must leave in the picture for it to be still one


class ObjectDetection(Task):
    score = "ap50"
    maximize = True
    dimensions = 2
    dependent = False
    corpus = True
    reads = "picture"
    MATCHING = ("classes",)
    SETTINGS: ClassVar = {"confidence": SHARE, "overlap": SHARE, "most_boxes": whole(1, 1000)}
    ANSWERING = frozenset(SETTINGS)
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "head_width": (8, 1024), "head_depth": (0, 8), "radius": (0.5, 8.0), "shift": (0, 1024), "zoom": (0.0, 1.0),
        "brightness": (0.0, 0.9),
    }  # fmt: skip

    def prepare(self, parts: Mapping[str, Any], split: Mapping[str, float | None], seed: int) -> Prepared:
        from pipeline.tasks.object_detection.preparation import prepare_scenes

        return prepare_scenes(dict(parts), split, seed)

    def examples(self, table: Table, card: Card) -> Batch:
        return {name: table[name] for name in ("images", "boxes", "labels", "sizes")}

    def network(  # type: ignore[override]  # the keywords are this task's parameters in params.yaml
        self, encoders: Encoders, card: Card, *, head_width: int, head_depth: int, radius: float, flip: bool,
        upside_down: bool, shift: int, zoom: float, brightness: float,
    ) -> Detector:  # fmt: skip
        head: dict[str, Any] = {"head_width": head_width, "head_depth": head_depth, "radius": radius}
        augmentation = {
            "flip": flip, "upside_down": upside_down, "shift": shift, "zoom": zoom, "brightness": brightness,
        }  # fmt: skip
        check_ranges(self.RANGES, **head, shift=shift, zoom=zoom, brightness=brightness)
        return Detector(encoders(card["channels"]), card, **head, augmentation=augmentation)

    def augment(self, network: nn.Module, batch: Batch) -> Batch:
        """Mirrors, moves, enlarges or shrinks, brightens or darkens every picture by its own draw."""
        assert isinstance(network, Detector)
        chosen, images = network.augmentation, batch["images"]
        count, _, height, width = images.shape

        def drawn() -> Tensor:
            return 2 * torch.rand(count, device=images.device) - 1  # (B,) from -1 to 1

        zoom = (1 + chosen["zoom"]) ** drawn()
        places, edges = [], []
        across, down = (width, batch["boxes"][..., 0::2], "flip"), (height, batch["boxes"][..., 1::2], "upside_down")
        for size, sides, mirrored in (across, down):
            factor = zoom.where(drawn() < 0, -zoom) if chosen[mirrored] else zoom
            move = (drawn() * (chosen["shift"] + 0.5)).round() + size / 2
            target = torch.arange(size, device=images.device) + 0.5 - move[:, None]  # (B, size)
            places.append((target / factor[:, None] + size / 2).floor().long())
            moved = (sides - size / 2) * factor[:, None, None] + move[:, None, None]  # (B, M, 2)
            edges.append(moved.sort(dim=2).values)
        images = sampled(images, places[1], places[0], network.mean)
        if chosen["brightness"]:
            images = (images.float() * (1 + chosen["brightness"] * drawn()).view(-1, 1, 1, 1)).clamp(0, 255)
        whole = torch.stack(edges, dim=3).flatten(2)  # (B, M, 4)
        boxes = torch.minimum(whole.clamp_min(0), whole.new_tensor([width, height, width, height]))
        labels = batch["labels"].where(area(boxes) > VISIBLE * area(whole), -1)
        return {**batch, "images": images, "boxes": boxes, "labels": labels}

    def output(self, network: nn.Module, batch: Batch) -> Tensor:
        return network(batch["images"])  # type: ignore[no-any-return]

    def infer(self, network: nn.Module, batch: Batch) -> Tensor:
        """Returns (B, most_boxes, 6): left, top, right, bottom, confidence, class (-1 for none), the surest first."""
        from pipeline.tasks.object_detection.detections import found_boxes, inner_sizes

        inner = inner_sizes(batch["sizes"], *batch["images"].shape[2:])
        return found_boxes(self.output(network, batch), inner, **self.settings)

    def loss(self, network: nn.Module, output: Tensor, batch: Batch) -> Tensor:
        """Adds focal loss of the classes (Lin et al. 2017), GIoU loss of the boxes (Rezatofighi et al. 2019), and
        cross-entropy of how well the boxes fit (Wu et al. 2020), each per cell that answers for a box."""
        assert isinstance(network, Detector)
        rows, columns = (-(-size // network.stride) for size in batch["images"].shape[2:])
        centres = network.centres(rows, columns, output.device)
        chosen = responsible(centres, batch["boxes"], batch["labels"], network.stride, network.radius)  # (B, P)
        answers, place = chosen >= 0, chosen.clamp_min(0)
        labels = batch["labels"].gather(1, place).clamp_min(0)
        truth = batch["boxes"].gather(1, place[..., None].expand(-1, -1, 4))  # (B, P, 4)
        wanted = functional.one_hot(labels, network.classes) * answers[..., None]
        fit, general = overlaps(output[..., -4:], truth)
        boxes = ((1 - general) * answers).sum()
        fits = functional.binary_cross_entropy_with_logits(output[..., -5], fit.detach(), reduction="none") * answers
        losses = focal_loss(output[..., :-5], wanted.to(output.dtype)) + BOX_WEIGHT * boxes + fits.sum()
        return losses / answers.sum().clamp_min(1)

    @property
    def progress(self) -> str:
        return "boxes_found"

    def scores(self, output: Tensor, batch: Batch, card: Card) -> Tensor:
        """Returns (B,) shares of true boxes for which some cell has the right class and a box that overlaps by half."""
        boxes, labels = batch["boxes"], batch["labels"]
        fits = overlaps(output[:, :, None, -4:], boxes[:, None])[0] > HALF  # (B, P, M)
        sure = output[..., :-5].sigmoid() > SURE  # (B, P, K)
        right = sure.gather(2, labels.clamp_min(0)[:, None].expand(-1, sure.shape[1], -1))  # (B, P, M)
        hits = ((fits & right).any(1) & (labels >= 0)).sum(1)
        return (hits / (labels >= 0).sum(1)).nan_to_num(1.0)  # nothing to find is nothing missed

    @torch.inference_mode()
    def predict(self, network: nn.Module, examples: Batch, card: Card) -> pd.DataFrame:
        """Predicts single pictures, as they are served: in a batch, sums and so the choice among equals may differ."""
        from pipeline.tasks.object_detection.detections import prediction_table

        rows = range(len(examples["images"]))
        single = ({name: tensor[row : row + 1] for name, tensor in examples.items()} for row in rows)
        detections = torch.cat([self.infer(network, one) for one in single])
        return prediction_table(detections.cpu().numpy(), examples, card)

    def resampled_metrics(self, predictions: pd.DataFrame, card: Card, weights: np.ndarray) -> dict[str, np.ndarray]:
        from pipeline.tasks.object_detection.average_precision import detection_figures

        return detection_figures(predictions, len(card["classes"]), weights)

    def example_scores(self, predictions: pd.DataFrame) -> np.ndarray:
        """Returns (N,) F1 of every picture's boxes of at least medium confidence, at an overlap of one half."""
        from pipeline.tasks.object_detection.average_precision import picture_scores

        return picture_scores(predictions)

    def baselines(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.object_detection.baselines import component_predictions

        return {"components": component_predictions(tables, card, seed, self.settings)}

    def guesses(self, tables: Mapping[str, Table], card: Card, seed: int) -> dict[str, dict[str, pd.DataFrame]]:
        from pipeline.tasks.object_detection.guesses import box_guesses

        return box_guesses(tables, card, self.settings["most_boxes"])

    def pictures(self, predictions: pd.DataFrame, table: Table, card: Card, folder: Path, title: str) -> list[Path]:
        from pipeline.tasks.object_detection.plots import boxes_on_pictures, precision_recall

        shown = boxes_on_pictures(predictions, table, card, folder / "boxes.png", title)
        return [shown, precision_recall(predictions, card, folder / "precision_recall.png", title)]

    def input_example(self, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.object_detection.detections import encoded_pictures

        return pd.DataFrame({"image": encoded_pictures({name: tensor[:2] for name, tensor in table.items()}, card)})

    def answer(self, network: nn.Module, request: pd.DataFrame, card: Card) -> pd.DataFrame:
        from pipeline.tasks.object_detection.detections import answer_table, decoded_pictures

        examples = decoded_pictures(request, card)
        return answer_table(self.predict(network, examples, card) if len(request) else None, examples, card)

    def predictions_of(self, responses: pd.DataFrame, table: Table, card: Card) -> pd.DataFrame:
        from pipeline.tasks.object_detection.detections import predictions_of

        return predictions_of(responses, self.examples(table, card), card)

    def drawings(self, request: pd.DataFrame, answer: pd.DataFrame, card: Card) -> list[bytes]:
        from pipeline.tasks.object_detection.plots import marked_picture

        return [marked_picture(request["image"][0], answer, card)]

    def probes(self, table: Table, predictions: pd.DataFrame, card: Card) -> list[Probe]:
        from pipeline.tasks.object_detection.detections import encoded_pictures
        from pipeline.tasks.probes import BATCHES, detection_probes

        first = {name: tensor[: max(BATCHES)] for name, tensor in table.items()}
        return detection_probes(encoded_pictures(first, card), predictions, card)


def sampled(images: Tensor, rows: Tensor, columns: Tensor, filling: Tensor) -> Tensor:
    """Samples (B, C, H, W) pixels of the given rows (B, H) and columns (B, W); `filling` where these are outside."""
    height, width = images.shape[2:]
    picture = torch.arange(len(images), device=images.device)[:, None, None]
    taken = images[picture, :, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    return taken.permute(0, 3, 1, 2).where(inside[:, None], filling.round().to(images.dtype))


def responsible(centres: Tensor, boxes: Tensor, labels: Tensor, stride: int, radius: float) -> Tensor:
    """Returns (B, P) which of the boxes (B, M, 4) each cell answers for, -1 for none.

    A cell answers for the smallest box that it lies in and whose middle is at most `radius` cells away (centre
    sampling). The cell with the middle in it always answers, so that no box is too small to be learnt.
    """
    low, high = boxes[:, None, :, :2], boxes[:, None, :, 2:]  # (B, 1, M, 2)
    point = centres[None, :, None]  # (1, P, 1, 2)
    inside = ((point > low) & (point < high)).all(3)  # (B, P, M)
    away = (point - (low + high) / 2).abs().amax(3)
    able = ((inside & (away < radius * stride)) | (away <= stride / 2)) & (labels >= 0)[:, None]
    smallest, place = area(boxes)[:, None].expand_as(able).masked_fill(~able, math.inf).min(2)
    return place.where(smallest < math.inf, -1)


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sums the focal loss (Lin et al. 2017) over all cells and classes: easy cells count little."""
    plain = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    chances = logits.sigmoid()
    missed = (chances - targets).abs()
    weights = ALPHA * targets + (1 - ALPHA) * (1 - targets)
    return (weights * missed**GAMMA * plain).sum()
