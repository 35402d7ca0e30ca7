"""A user's picture with the boxes that a detector has found in it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.tables import Card, Table
from pipeline.figures import BLUE, INK, ORANGE, figure, save
from pipeline.formats.image import upright_image
from pipeline.tasks.plots import MOST_CLASSES_WITH_NUMBERS


def marked_picture(data: bytes, answer: pd.DataFrame, card: Card) -> bytes:
    """Returns the picture as a PNG file with boxes of a confidence of at least SHOWN, in the colours of their classes.

    `answer` has a row a box, in pixels of this picture. Lines and letters grow with the picture; the surest box lies
    on top.
    """
    from PIL import ImageDraw, ImageFont

    image = upright_image(io.BytesIO(data))
    drawing = ImageDraw.Draw(image)
    line = max(1, round(min(image.size) / 200))
    font = ImageFont.load_default(max(9, min(image.size) // 40))
    classes = [str(name) for name in card["classes"]]
    sure = answer[answer["confidence"] >= SHOWN].sort_values("confidence", kind="stable")
    sides = sure[["left", "top", "right", "bottom"]].to_numpy()
    for name, confidence, box in zip(sure["class"], sure["confidence"], sides, strict=True):
        colour = BOX_COLOURS[classes.index(name) % len(BOX_COLOURS)]
        drawing.rectangle(box.tolist(), outline=colour, width=line)
        drawing.text((box[0] + line, box[1] + line), f"{name} {confidence:.2f}", fill=colour, font=font)
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


BOX_COLOURS = (BLUE, ORANGE, "#3b8a57", "#8a4fa3", "#b08900", "#b3263a", "#1d7f8c", "#6b4226")


SHOWN = 0.4  # confidence from which a box is drawn


def boxes_on_pictures(predictions: pd.DataFrame, table: Table, card: Card, path: Path, title: str) -> Path:
    """Draws nine pictures, evenly spread over the examples: true boxes dashed, found ones in colours of classes."""
    from matplotlib.patches import Rectangle

    examples = np.unique(np.linspace(0, len(table["images"]) - 1, 9).astype(int)).tolist()
    sure = predictions[(predictions["confidence"] >= SHOWN) & (predictions["predicted"] >= 0)]
    drawn = figure(11, 11 * card["height"] / card["width"] + 0.6)
    drawn.suptitle(f"{title}: boxes of a confidence of at least {SHOWN:g}; dashed: the truth", fontsize=10)
    for place, example in enumerate(examples):
        axes = drawn.add_subplot(3, 3, place + 1)
        picture = table["images"][example].numpy().transpose(1, 2, 0)
        axes.imshow(picture.squeeze(), cmap="gray" if card["channels"] == 1 else None, vmin=0, vmax=card["maximum"])
        labels, boxes = table["labels"][example].numpy(), table["boxes"][example].numpy()
        detected = sure[sure["example"] == example]
        sides = detected[["left", "top", "right", "bottom"]].to_numpy()
        for (left, top, right, bottom), colour, dash in [
            *((box, INK, "--") for box in boxes[labels >= 0]),
            *((box, _colour(label), "-") for box, label in zip(sides, detected["predicted"], strict=True)),
        ]:
            size = (right - left, bottom - top)
            axes.add_patch(Rectangle((left, top), *size, fill=False, linewidth=0.9, edgecolor=colour, linestyle=dash))
        axes.set_title(f"test picture {example}: {len(detected)} found, {(labels >= 0).sum()} true", fontsize=8)
        axes.axis("off")
    names = [str(name) for name in card["classes"]][:MOST_CLASSES_WITH_NUMBERS]
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=_colour(label)) for label in range(len(names))]
    drawn.legend(handles, names, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    return save(drawn, path)


def precision_recall(predictions: pd.DataFrame, card: Card, path: Path, title: str) -> Path:
    """Draws precision over recall of every class, at overlaps (IoU) of 0.5 and 0.75."""
    from pipeline.tasks.object_detection.average_precision import curve

    drawn = figure(9, 3.4)
    for axes, threshold in zip(drawn.subplots(1, 2), (0.5, 0.75), strict=True):
        for label, name in enumerate(card["classes"]):
            recall, precision = curve(predictions, label, threshold)
            axes.plot(recall, precision, color=_colour(label), linewidth=1.2, label=str(name))
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
        axes.set_title(f"{title}, overlap {threshold:g}")
    if len(card["classes"]) <= MOST_CLASSES_WITH_NUMBERS:
        drawn.axes[0].legend(fontsize=7, frameon=False, loc="lower left")
    return save(drawn, path)


def _colour(label: int) -> str:
    return BOX_COLOURS[int(label) % len(BOX_COLOURS)]
