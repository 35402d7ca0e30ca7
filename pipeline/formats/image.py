"""Pictures in files: any size, depth and orientation, brought to one size."""

from __future__ import annotations

import io
import os
import struct
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION = 0x0112  # in an EXIF block
BITS = 0x0102  # of the samples, in a TIFF
# What a decoder meets in damaged files: each plug-in of the library has its own.
FAULTS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    SyntaxError,
    struct.error,
)
# Other plug-ins of the library are not asked: that of EPS would start a program with what a stranger has sent.
KINDS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
MOST_PIXELS = 1 << 26  # of a picture, 67 million: it takes up to 1 GiB while it is read, however small its file is
BAND = 1 << 20  # pixels of 16 bits that are brought to 8 at a time
TILE = (322, 323)  # width and height of the tiles of a TIFF
SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def read_image(source: Path | IO[bytes], *, height: int, width: int, mode: str) -> np.ndarray:
    """Reads one picture as (C, H, W) uint8, C = 1 for mode L, 3 for RGB.

    Turned by its EXIF orientation, laid on white where it is transparent, stretched to the size with a filter
    over the whole area. Raises ValueError for a file that is damaged or not a picture.
    """
    return _resized(_decoded(source, mode), height, width)


def read_fitted_image(
    source: Path | IO[bytes], *, height: int, width: int, mode: str
) -> tuple[np.ndarray, tuple[int, int]]:
    """Reads one picture as (C, H, W) uint8 with its proportions kept, and its own (height, width).

    It fills the upper left corner up to `fitted_size`; the rest is black. Otherwise like `read_image`.
    """
    flat = _decoded(source, mode)
    inner = fitted_size(flat.height, flat.width, height, width)
    pixels = np.zeros((3 if mode == "RGB" else 1, height, width), dtype=np.uint8)
    pixels[:, : inner[0], : inner[1]] = _resized(flat, *inner)
    return pixels, (flat.height, flat.width)


def upright_image(source: Path | IO[bytes]) -> Image:
    """Reads one picture in its own size and in colour, otherwise like `read_image`."""
    return _decoded(source, "RGB")


def read_scaled_image(
    source: Path | IO[bytes], *, mode: str, scaled: Callable[[int, int], tuple[int, int]]
) -> np.ndarray:
    """Reads one picture as (C, H, W) uint8, stretched to the size that `scaled` makes of its (height, width).

    Otherwise like `read_image`.
    """
    flat = _decoded(source, mode)
    return _resized(flat, *scaled(flat.height, flat.width))


def fitted_size(height: int, width: int, most_height: int, most_width: int) -> tuple[int, int]:
    """Returns the (height, width) of a picture made as large as it fits, with its proportions kept."""
    scale = min(most_height / height, most_width / width)
    return min(max(round(height * scale), 1), most_height), min(max(round(width * scale), 1), most_width)


def png(pixels: np.ndarray, maximum: int = 255) -> bytes:
    """Encodes (C, H, W) values from 0 to `maximum`, C = 1 or 3, as a PNG file with 256 values a channel."""
    from PIL import Image

    values = np.rint(pixels.astype(np.float64) * 255 / maximum).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values[0] if len(values) == 1 else values.transpose(1, 2, 0)).save(stream, format="PNG")
    return stream.getvalue()


def image_paths(folder: Path) -> tuple[list[Path], int]:
    """Lists picture files below a folder, sorted, and counts other files. Hidden files are not counted."""
    files = sorted(visible_files(folder))
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    for path in pictures:
        check_name(path)
    return pictures, len(files) - len(pictures)


def is_hidden(name: str) -> bool:
    """Whether systems leave it behind: .DS_Store, ._photo.jpg, __MACOSX, @eaDir, lost+found, Thumbs.db."""
    return name.startswith(".") or name in ("__MACOSX", "@eaDir", "lost+found", "Thumbs.db", "desktop.ini")


def check_name(path: Path) -> None:
    """Raises ValueError for a name in another encoding, which could not be written down."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{os.fsencode(path)!r}: the name is not UTF-8; rename it, for example with convmv") from None


def check_no_link(path: Path) -> None:
    """Raises ValueError for a link to a folder: DVC neither stores what is behind it nor notices changes there."""
    if path.is_symlink():
        raise ValueError(f"{path}: a link to a folder, behind which DVC does not look; put the folder itself there")


def composed(name: str) -> str:
    """Composes a name as most systems write it; macOS takes letters and their accents apart."""
    return unicodedata.normalize("NFC", name)


def _decoded(source: Path | IO[bytes], mode: str) -> Image:
    """Decodes a picture in its own size, upright and without transparency. Raises ValueError where it is none."""
    from PIL import Image, UnidentifiedImageError
    from PIL.TiffImagePlugin import TiffImageFile

    try:
        with Image.open(source, formats=KINDS) as image:
            _check_size(image)  # before `load`, which takes the memory
            image.load()
            if image.mode == "I" and isinstance(image, TiffImageFile) and max(image.tag_v2[BITS]) > 16:
                raise ValueError("found 32 bits a channel; allowed: 8 or 16")
            return _flattened(_upright(image), mode)
    except (*FAULTS, MemoryError, Image.DecompressionBombError) as error:
        name = source if isinstance(source, Path) else "the picture"
        reason: object = error if str(error) else type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = f"no picture format is recognised; allowed: {', '.join(KINDS)}"
        raise ValueError(f"{name}: not readable as an image ({reason}); replace the file or remove it") from None


def _check_size(image: Image) -> None:
    """Raises ValueError for a picture, or tiles of one, of more than MOST_PIXELS by its header."""
    from PIL.TiffImagePlugin import TiffImageFile

    sizes = [image.size]
    if isinstance(image, TiffImageFile):
        sizes.append((int(image.tag_v2.get(TILE[0], 0)), int(image.tag_v2.get(TILE[1], 0))))
    for width, height in sizes:
        if width * height > MOST_PIXELS:
            raise ValueError(f"found {width} × {height} pixels; allowed: up to {MOST_PIXELS:,} in all; make it smaller")


def _upright(image: Image) -> Image:
    """Turns a picture by its EXIF block. A damaged block is ignored, as by every other viewer."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
    }  # fmt: skip
    try:
        turn = turns.get(image.getexif().get(ORIENTATION, 1))
    except FAULTS:
        turn = None
    return image if turn is None else image.transpose(turn)


def _resized(flat: Image, height: int, width: int) -> np.ndarray:
    """Returns (C, H, W) uint8, stretched to the size."""
    from PIL.Image import Resampling

    if flat.size != (width, height):
        flat = flat.resize((width, height), Resampling.BILINEAR)
    pixels = np.asarray(flat, dtype=np.uint8)
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def visible_files(folder: Path) -> Iterator[Path]:
    """Lists all files below a folder, but for what systems leave behind.

    Raises ValueError for a folder that cannot be read and a link to a folder.
    """

    def unreadable(error: OSError) -> None:
        raise ValueError(f"{error.filename}: not readable ({error.strerror}); change its rights") from None

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in folders:
            check_no_link(Path(parent, name))
        yield from (Path(parent, name) for name in files if not is_hidden(name))


def _flattened(image: Image, mode: str) -> Image:
    """Converts to eight bits a channel without transparency, in the requested mode."""
    from PIL import Image as pillow

    if image.mode.startswith("I") or image.mode == "F":  # convert("L") would cut 16 bits off at 255
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError(f"found pixels of mode {image.mode}; allowed: 8 or 16 bits a channel")
        image = pillow.fromarray(_eight_bits(values))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = pillow.alpha_composite(pillow.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Scales (H, W) from 0 to 65,535 to uint8, band by band: all at once would take eight times the memory."""
    pixels = np.empty(values.shape, dtype=np.uint8)
    rows = max(BAND // values.shape[1], 1)
    for start in range(0, len(values), rows):
        band = slice(start, start + rows)
        pixels[band] = (values[band] / 257).round()
    return pixels
