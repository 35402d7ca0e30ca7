import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pipeline.formats.image import read_image


def packed(image: Image.Image, kind: str = "PNG", **options: object) -> BytesIO:
    stream = BytesIO()
    image.save(stream, kind, **options)
    stream.seek(0)
    return stream


def test_exif_orientation_is_applied():
    image = Image.new("L", (4, 2), 0)
    image.paste(255, (0, 0, 2, 2))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise to see it upright: white is then on top
    found = read_image(packed(image, exif=exif), height=4, width=2, mode="L")
    assert found.shape == (1, 4, 2) and found[0].tolist() == [[255, 255], [255, 255], [0, 0], [0, 0]]


def test_an_exif_block_with_odd_entries_hides_no_picture():
    """Cameras and editors write such blocks; writing them anew, as a library does that turns pictures, fails."""
    entries = [(0x0112, 3, 6), (0x0100, 2, int.from_bytes(b"abc\0", "little"))]  # turned; a width that is text
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2)
    for tag, kind, value in entries:
        block += struct.pack("<HHII", tag, kind, 1 if kind == 3 else 4, value)
    image = Image.new("L", (8, 4), 0)
    image.paste(255, (0, 0, 4, 4))
    found = read_image(packed(image, "JPEG", exif=block + b"\0\0\0\0"), height=8, width=4, mode="L")
    assert found[0, :4].min() > 200 and found[0, 4:].max() < 50, "the left half is on top"


def test_sixteen_bits_with_a_sign_are_scaled_as_those_without():
    tags = [(256, 2), (257, 1), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 4), (339, 2)]
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags)
    tiff = b"II*\0" + struct.pack("<IhhH", 12, 0, 25700, len(tags)) + entries + bytes(4)
    assert read_image(BytesIO(tiff), height=1, width=2, mode="L").ravel().tolist() == [0, 100]


def test_thirty_two_bits_have_no_known_range():
    values = Image.fromarray(np.full((2, 2), 200, dtype=np.int32))
    with pytest.raises(ValueError, match="found 32 bits a channel; allowed: 8 or 16"):
        read_image(packed(values, "TIFF"), height=2, width=2, mode="L")


def test_sixteen_bits_are_scaled_not_cut():
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    found = read_image(packed(Image.fromarray(values)), height=1, width=4, mode="L")
    assert found.ravel().tolist() == [0, 1, 128, 255]


def test_transparent_pictures_lie_on_white():
    found = read_image(packed(Image.new("RGBA", (1, 1), (0, 0, 0, 0))), height=1, width=1, mode="RGB")
    assert found.ravel().tolist() == [255, 255, 255]


def test_palettes_grey_and_cmyk_become_rgb():
    for mode, kind in (("P", "GIF"), ("1", "PNG"), ("CMYK", "JPEG")):
        assert read_image(packed(Image.new(mode, (5, 3)), kind), height=2, width=2, mode="RGB").shape == (3, 2, 2)


def test_a_smaller_picture_averages_the_whole_area():
    values = np.zeros((8, 8), dtype=np.uint8)
    values[::2] = 200
    found = read_image(packed(Image.fromarray(values)), height=2, width=2, mode="L")
    assert np.abs(found.astype(int) - 100).max() < 25  # nearest-neighbour sampling would give 0 or 200


def test_a_stream_that_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="the picture: not readable as an image"):
        read_image(BytesIO(b"hello"), height=2, width=2, mode="L")
