"""Pictures in files: any size, depth and orientation, brought to one size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def read_image(source: Path | IO[bytes], *, height: int, width: int, mode: str) -> np.ndarray:
    """One picture as (C, H, W) uint8, C = 1 for mode L, 3 for RGB.

    Turned as its EXIF orientation says, laid on white where it is transparent, stretched to the size with a filter
    over the whole area. Raises ValueError for a file that is damaged or no picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(source) as image:
            image.load()
            flat = _flattened(ImageOps.exif_transpose(image), mode)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        name = source if isinstance(source, Path) else "the picture"
        reason = "no picture format is recognised" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(f"{name}: not readable as an image ({reason}); replace the file or remove it") from None
    if flat.size != (width, height):
        flat = flat.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(flat, dtype=np.uint8)
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # (C, H, W)


def image_paths(folder: Path) -> tuple[list[Path], int]:
    """Picture files below a folder, sorted, and the number of other files. Hidden files are not counted."""
    found = sorted(_visible_files(folder))
    pictures = [path for path in found if path.suffix.lower() in SUFFIXES]
    return pictures, len(found) - len(pictures)


def is_hidden(name: str) -> bool:
    """Files that systems leave behind: .DS_Store, ._photo.jpg, __MACOSX, Thumbs.db."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _visible_files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from (Path(parent, name) for name in files if not is_hidden(name))


def _flattened(image: Image, mode: str) -> Image:
    """Eight bits a channel, no transparency, in the mode asked for."""
    from PIL import Image as pillow

    if image.mode.startswith("I") or image.mode == "F":  # convert("L") would cut 16 bits off at 255
        values = np.asarray(image, dtype=np.float64)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError(f"found pixels of mode {image.mode}; allowed: 8 or 16 bits a channel")
        image = pillow.fromarray((values / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
