"""From the answers of all cells to the boxes that are reported, to prediction tables, and to a user's answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pipeline.data.tables import Batch, Card
from pipeline.formats.image import fitted_size, png, read_fitted_image
from pipeline.tasks.object_detection.average_precision import THRESHOLDS, column_of
from pipeline.tasks.object_detection.network import area, overlaps

CANDIDATES = 300  # the surest answers of a picture, among which overlapping ones are dropped
ANSWER = ("image", "class", "confidence", "left", "top", "right", "bottom")
SIDES = ("left", "top", "right", "bottom")


def found_boxes(output: Tensor, inner: Tensor, *, confidence: float, overlap: float, most_boxes: int) -> Tensor:
    """Selects from (B, P, K + 5) answers of the cells (B, most_boxes, 6) what is reported, see `ObjectDetection.infer`.

    inner: (B, 2) height and width of the pictures inside of the grid. How sure a box is: the geometric mean of the
    chance of its class and the overlap that it expects to have.
    """
    classes = output.shape[2] - 5
    scores = (output[..., :classes].sigmoid() * output[..., classes, None].sigmoid()).sqrt().flatten(1)  # (B, P · K)
    sure, index = (ranked[:, :CANDIDATES] for ranked in scores.sort(dim=1, descending=True, stable=True))
    boxes = output[..., -4:].gather(1, (index // classes)[..., None].expand(-1, -1, 4))
    return reported(boxes, sure, index % classes, inner, confidence, overlap, most_boxes)


def reported(
    boxes: Tensor, sure: Tensor, labels: Tensor, inner: Tensor, confidence: float, overlap: float, most_boxes: int
) -> Tensor:
    """Keeps of (B, Q) boxes, the surest first, those sure enough and not beaten by a surer one: (B, most_boxes, 6).

    Non-maximum suppression, class by class and for all pictures at once.
    """
    boxes = torch.minimum(boxes.clamp_min(0), inner.flip(1).repeat(1, 2)[:, None].to(boxes.dtype))
    alive = (sure >= confidence) & (area(boxes) > 0)
    close = overlaps(boxes[:, :, None], boxes[:, None])[0] > overlap  # (B, Q, Q)
    beats = (close & (labels[:, :, None] == labels[:, None])).tril(-1)  # [:, i, j]: j is surer than i
    kept = surviving(alive, beats)
    detections = torch.cat([boxes, sure[..., None], labels[..., None].to(boxes.dtype)], dim=2)  # (B, Q, 6)
    detections = torch.where(kept[..., None], detections, detections.new_tensor([0, 0, 0, 0, 0, -1]))
    order = kept.int().argsort(dim=1, descending=True, stable=True)[:, :most_boxes]
    detections = detections.gather(1, order[..., None].expand(-1, -1, 6))
    missing = most_boxes - detections.shape[1]
    empty = detections.new_tensor([0, 0, 0, 0, 0, -1]).expand(len(detections), max(missing, 0), 6)
    return torch.cat([detections, empty], dim=1)


def surviving(alive: Tensor, beats: Tensor) -> Tensor:
    """Returns (B, Q) which candidates remain where each falls to any surer one that remains itself and beats it.

    Greedy suppression as a fixed point: after k rounds the first k candidates are settled, usually all after a few.
    """
    kept = alive
    while True:
        after = alive & ~(beats & kept[:, None]).any(2)
        if torch.equal(after, kept):
            return kept
        kept = after


def inner_sizes(sizes: Tensor, height: int, width: int) -> Tensor:
    """Maps (B, 2) heights and widths of files to those that the pictures have inside of a grid."""
    fitted = [fitted_size(own_height, own_width, height, width) for own_height, own_width in sizes.tolist()]
    return torch.tensor(fitted, device=sizes.device).view(-1, 2)


def prediction_table(detections: np.ndarray, examples: Mapping[str, Tensor], card: Card) -> pd.DataFrame:
    """Builds one row per box of (N, D, 6), and one without a box (class -1) for a picture that has none.

    Boxes are in pixels of the table's pictures. `matched_50` … `matched_95` mark the box by which a true box of its
    class is found at that overlap, `truths_<class>` counts the true boxes of the picture.
    """
    boxes, labels = (examples[name].cpu().numpy() for name in ("boxes", "labels"))
    matched = matches(detections, boxes, labels)  # (N, D, T)
    shown = detections[..., 5] >= 0
    shown[:, 0] |= ~shown.any(1)
    example, place = np.nonzero(shown)
    rows = detections[example, place].astype(np.float64)
    columns = {"example": example.astype(np.int64), "predicted": rows[:, 5].astype(np.int64), "confidence": rows[:, 4]}
    columns |= {side: rows[:, number] for number, side in enumerate(SIDES)}
    columns |= {column_of(level): matched[example, place, at] for at, level in enumerate(THRESHOLDS)}
    for label in range(len(card["classes"])):
        columns[f"truths_{label}"] = (labels == label).sum(1)[example].astype(np.int64)
    return pd.DataFrame(columns)


def predictions_of(responses: pd.DataFrame, examples: Mapping[str, Tensor], card: Card) -> pd.DataFrame:
    """Builds the prediction table of a served model's answers, whose boxes are in pixels of the files."""
    sizes = examples["sizes"].numpy()
    inner = inner_sizes(examples["sizes"], card["height"], card["width"]).numpy()
    down, across = (inner / sizes)[responses["image"]].T
    place = {str(name): index for index, name in enumerate(card["classes"])}
    most = int(responses.groupby("image").size().max()) if len(responses) else 1
    detections = np.tile(np.array([0, 0, 0, 0, 0, -1], dtype=np.float32), (len(sizes), most, 1))
    number = responses.groupby("image").cumcount().to_numpy()
    scaled = [responses[side] * factor for side, factor in zip(SIDES, (across, down, across, down), strict=True)]
    classes = responses["class"].map(place)
    detections[responses["image"], number] = np.stack([*scaled, responses["confidence"], classes], axis=1)
    return prediction_table(detections, examples, card)


def matches(detections: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns (N, D, T) whether a box finds a true one at each overlap, as COCO counts (Lin et al. 2014).

    The surest box of a picture chooses first, each the best of the true boxes of its class that are left. All pictures
    and overlaps go together, box by box.
    """
    fits = overlaps(torch.from_numpy(detections[:, :, None, :4]), torch.from_numpy(boxes[:, None]))[0].double().numpy()
    fits[detections[..., 5, None] != labels[:, None]] = -1.0  # (N, D, M)
    levels = np.array(THRESHOLDS)[:, None] - 1e-7
    free = np.ones((len(detections), len(THRESHOLDS), boxes.shape[1]), dtype=bool)  # (N, T, M)
    matched = np.zeros((*detections.shape[:2], len(THRESHOLDS)), dtype=bool)
    for place in range(detections.shape[1]):
        possible = np.where(free & (fits[:, place, None] >= levels), fits[:, place, None], -1.0)
        best = possible.argmax(2)[..., None]
        matched[:, place] = (np.take_along_axis(possible, best, 2) >= 0)[..., 0]
        left = np.take_along_axis(free, best, 2) & ~matched[:, place, :, None]
        np.put_along_axis(free, best, left, 2)
    return matched


def encoded_pictures(table: Mapping[str, Tensor], card: Card) -> list[bytes]:
    """Encodes a table's pictures as PNG files, without the black that fills them up."""
    inner = inner_sizes(table["sizes"], card["height"], card["width"]).tolist()
    pictures = zip(table["images"].numpy(), inner, strict=True)
    return [png(image[:, :height, :width]) for image, (height, width) in pictures]


def decoded_pictures(request: pd.DataFrame, card: Card) -> Batch:
    """Decodes a request to examples without truth. Raises ValueError with the row of what is not a picture."""
    from pipeline.tasks.requests import files_of

    channels, height, width = (card[name] for name in ("channels", "height", "width"))
    mode = "L" if channels == 1 else "RGB"
    read = files_of(request, "image", lambda file: read_fitted_image(file, height=height, width=width, mode=mode))
    count = len(read)
    images, sizes = np.zeros((count, channels, height, width), np.uint8), np.ones((count, 2), np.int64)
    for row, (pixels, size) in enumerate(read):
        images[row], sizes[row] = pixels, size
    nothing = {"boxes": torch.zeros(count, 1, 4), "labels": torch.full((count, 1), -1)}
    return {"images": torch.from_numpy(images), "sizes": torch.from_numpy(sizes), **nothing}


def answer_table(predictions: pd.DataFrame | None, examples: Batch, card: Card) -> pd.DataFrame:
    """Builds one row per box in pixels of the picture that was sent; `image` is the row of the request."""
    if predictions is None:
        return pd.DataFrame({name: [] for name in ANSWER})
    boxes = predictions[predictions["predicted"] >= 0].reset_index(drop=True)
    sent = examples["sizes"].numpy()
    inner = inner_sizes(examples["sizes"], card["height"], card["width"]).numpy()
    down, across = (sent / inner)[boxes["example"]].T
    classes = [str(name) for name in card["classes"]]
    answer = pd.DataFrame({"image": boxes["example"], "class": [classes[label] for label in boxes["predicted"]]})
    answer["confidence"] = boxes["confidence"]
    for side, factor in zip(SIDES, (across, down, across, down), strict=True):
        answer[side] = boxes[side] * factor
    return answer
