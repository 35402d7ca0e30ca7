"""A user's picture with the boxes that a detector has found in it."""

from __future__ import annotations

import io

import pandas as pd

from pipeline.data.image_files import upright_image
from pipeline.tasks.pictures import BOX_COLOURS, SHOWN
from pipeline.tasks.task import Card


def marked_picture(data: bytes, answer: pd.DataFrame, card: Card) -> bytes:
    """The picture as a PNG file with the boxes of a confidence of at least SHOWN, in the colours of their classes.

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
