"""Image files of every format, depth and orientation, as 8-bit BGR."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.features
import PIL.Image
import pytest
import tifffile

from sam2_block.errors import ImageError
from sam2_block.images.image_reading import decode_image, read_image

Pixels = np.ndarray[Any, Any]

# Four quarters of different colors: each of the eight orientations gives another image.
QUARTERS = np.zeros((30, 40, 3), np.uint8)
QUARTERS[:15, :20], QUARTERS[:15, 20:] = (255, 0, 0), (0, 255, 0)
QUARTERS[15:, :20], QUARTERS[15:, 20:] = (0, 0, 255), (255, 255, 0)
RGB = PIL.Image.fromarray(QUARTERS)
BGR = QUARTERS[..., ::-1]
GREY_RAMP = np.tile(np.arange(0, 240, 6, dtype=np.uint8), (30, 1))

needs_avif = pytest.mark.skipif(not PIL.features.check("avif"), reason="Pillow without AVIF")


def encoded(image: PIL.Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def opencv(suffix: str, pixels: Pixels, *options: int) -> bytes:
    done, content = cv2.imencode(suffix, pixels, options)
    assert done
    return bytes(content)


def assert_close(pixels: Pixels, expected: Pixels) -> None:
    assert pixels.shape == expected.shape
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - expected).mean() < 12  # of lossy formats, at the edges


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "file_format", ["JPEG", "PNG", "WEBP", "TIFF", "MPO", pytest.param("AVIF", marks=needs_avif)]
)
def test_orientation(file_format: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {0x0112: orientation}} if file_format == "TIFF" else {"exif": exif}
    # Of an upright image, the pixels as a camera in that position stores them.
    stored = {
        1: BGR,
        2: BGR[:, ::-1],
        3: BGR[::-1, ::-1],
        4: BGR[::-1],
        5: BGR.swapaxes(0, 1),
        6: np.rot90(BGR, 1),
        7: np.rot90(BGR, 2).swapaxes(0, 1),
        8: np.rot90(BGR, -1),
    }[orientation]
    image = PIL.Image.fromarray(np.ascontiguousarray(stored[..., ::-1]))
    read = decode_image(encoded(image, file_format, quality=95, **options))
    assert_close(read.pixels, BGR)
    assert read.remarks == ()


def test_orientation_of_deep_tiff_files() -> None:
    """Pillow writes the tag; OpenCV reads the pixels, of 16 bits and of floats."""
    for mode, dtype in (("I;16", np.uint16), ("F", np.float32)):
        values = np.zeros((4, 6), dtype)
        values[0, 0] = 1 if mode == "F" else 65535
        image = PIL.Image.fromarray(values)
        assert image.mode == mode
        pixels = decode_image(encoded(image, "TIFF", tiffinfo={0x0112: 6})).pixels
        assert pixels.shape == (6, 4, 3)
        assert pixels[0, 3].tolist() == [255, 255, 255]


def test_orientation_of_deep_png_files() -> None:
    """Half of the range and all of it take two ways through OpenCV."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    for largest in (4095, 65535):
        values = np.zeros((4, 6), np.uint16)
        values[0, 0] = largest
        content = encoded(PIL.Image.fromarray(values), "PNG", exif=exif)
        pixels = decode_image(content).pixels
        assert pixels.shape == (6, 4, 3)
        assert pixels[0, 3].tolist() == [255, 255, 255]


def translucent(mode: str) -> PIL.Image.Image:
    image = RGB.convert(mode)
    image.putalpha(PIL.Image.new("L", image.size, 100))
    return image


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(RGB, "PNG"), BGR),
        (encoded(RGB.quantize(8), "PNG"), BGR),
        (encoded(RGB.quantize(8), "PNG", transparency=0), BGR),
        (encoded(RGB.quantize(8), "BMP"), BGR),
        (encoded(RGB.quantize(8), "GIF"), BGR),
        (encoded(RGB.quantize(8), "TIFF"), BGR),
        (encoded(RGB.convert("CMYK"), "JPEG", quality=95), BGR),
        (encoded(RGB.convert("CMYK"), "TIFF"), BGR),
        (encoded(RGB, "JPEG", quality=95, progressive=True), BGR),
        (encoded(RGB, "JPEG2000"), BGR),
        (encoded(RGB, "PPM"), BGR),
        (encoded(RGB, "TIFF", compression="tiff_lzw"), BGR),
        # Transparency is ignored, whatever the format; OpenCV darkens TIFF files by it.
        (encoded(translucent("RGB"), "PNG"), BGR),
        (encoded(translucent("RGB"), "WEBP", lossless=True), BGR),
        (encoded(translucent("RGB"), "TIFF"), BGR),
        # Grey and one bit.
        (encoded(PIL.Image.fromarray(GREY_RAMP), "PNG"), np.dstack([GREY_RAMP] * 3)),
        (encoded(PIL.Image.fromarray(GREY_RAMP), "PPM"), np.dstack([GREY_RAMP] * 3)),
        (
            encoded(PIL.Image.fromarray(GREY_RAMP > 99), "PNG"),
            np.dstack([GREY_RAMP > 99] * 3) * 255,
        ),
        (
            encoded(PIL.Image.fromarray(GREY_RAMP > 99), "TIFF", compression="group4"),
            np.dstack([GREY_RAMP > 99] * 3) * 255,
        ),
    ],
)
def test_colors(content: bytes, expected: Pixels) -> None:
    read = decode_image(content)
    assert_close(read.pixels, expected)
    assert read.remarks == ()


@pytest.mark.parametrize("comment", [b"", b"# of 7 8 9\n"])
@pytest.mark.parametrize(("kind", "channels"), [(b"P5", 1), (b"P6", 3)])
@pytest.mark.parametrize("largest", [1, 15, 100])
def test_netpbm_files_say_what_is_white(
    largest: int, kind: bytes, channels: int, comment: bytes
) -> None:
    values = np.array([[0, largest]], np.uint8).repeat(channels, axis=1)
    content = b"%s\n%s2 1\n%d\n%s" % (kind, comment, largest, values.tobytes())
    read = decode_image(content)
    assert read.pixels.tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert read.remarks == ()


@needs_avif
def test_avif_of_ten_bits_has_its_range_from_the_file() -> None:
    dark = np.full((30, 40, 3), 200, np.uint16)  # of 1023, and below 256
    try:
        content = opencv(".avif", dark, cv2.IMWRITE_AVIF_DEPTH, 10)
    except (cv2.error, AttributeError):
        pytest.skip("OpenCV without AVIF")
    read = decode_image(content)
    assert read.pixels.max() in (49, 50, 51)
    assert read.remarks == ()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
@pytest.mark.parametrize(
    ("largest", "bits"), [(255, 8), (1023, 10), (3060, 12), (4095, 12), (9000, 14), (65535, 16)]
)
def test_sixteen_bits_have_the_range_of_their_camera(suffix: str, largest: int, bits: int) -> None:
    values = np.linspace(0, largest, 30 * 40).round().astype(np.uint16).reshape(30, 40)
    content = opencv(suffix, values)
    read = decode_image(content)
    expected = (values >> (bits - 8)).astype(np.uint8)
    np.testing.assert_array_equal(read.pixels, np.dstack([expected] * 3))
    assert read.remarks == (f"{bits}-bit values in a 16-bit file scaled to 8 bits",)


@pytest.mark.parametrize("largest", [3000, 65535])
def test_sixteen_bits_where_zero_is_white(largest: int) -> None:
    values = np.linspace(0, largest, 30 * 40).astype(np.uint16).reshape(30, 40)
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric="miniswhite")
    pixels = decode_image(file.getvalue()).pixels
    assert pixels[0, 0, 0] == 255
    assert pixels[-1, -1, 0] < 80
    assert np.diff(pixels[..., 0].ravel().astype(int)).max() == 0


def test_full_sixteen_bits_are_read_as_opencv_reads_them() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (30, 40, 3), dtype=np.uint16)
    values[0, 0] = 65535
    for suffix in (".png", ".tif", ".ppm"):
        content = opencv(suffix, values)
        by_opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(decode_image(content).pixels, by_opencv)


@pytest.mark.parametrize(
    ("values", "expected", "remark"),
    [
        (np.float32([[0, 0.5, 0.8]]), [0, 128, 204], "values of 0 to 0.8 scaled"),
        (np.float32([[-1, 0, 3]]), [0, 64, 255], "values of -1 to 3 scaled"),
        (np.float32([[2, np.nan, 4]]), [0, 0, 255], "values of 2 to 4 scaled"),
        (np.float64([[100, 150, 200]]), [0, 128, 255], "values of 100 to 200 scaled"),
        (np.int32([[0, 50, 100000]]), [0, 0, 255], "values of 0 to 100000 scaled"),
        (np.int16([[-100, 0, 100]]), [0, 128, 255], "values of -100 to 100 scaled"),
        (np.float64([[-1.7e308, 0, 1.7e308]]), [0, 128, 255], "values of -1.7e+308 to 1.7e+308"),
        (np.float32([[7, 7, 7]]), [0, 0, 0], "values of 7 to 7 scaled"),
        (np.float32([[np.nan, np.nan, np.inf]]), [0, 0, 255], "values of 0 to 0 scaled"),
    ],
)
def test_values_without_a_range(values: Pixels, expected: list[int], remark: str) -> None:
    read = decode_image(opencv(".tif", values))
    assert read.pixels[0, :, 0].tolist() == expected
    assert read.pixels.shape == (1, 3, 3)
    assert len(read.remarks) == 1
    assert read.remarks[0].startswith(remark)


@pytest.mark.parametrize(
    ("file_format", "remark"),
    [
        ("TIFF", "only the first of 3 pages is read"),
        ("GIF", "only the first of 3 frames is read"),
        ("WEBP", "only the first of 3 frames is read"),
        ("PNG", "only the first of 3 frames is read"),
        pytest.param("AVIF", "only the first of 3 frames is read", marks=needs_avif),
        ("MPO", None),  # a phone's photo, with its preview and its depth
    ],
)
def test_the_first_page_or_frame_is_read(file_format: str, remark: str | None) -> None:
    others = [RGB.rotate(90), RGB.rotate(180)]
    read = decode_image(encoded(RGB, file_format, save_all=True, append_images=others))
    assert_close(read.pixels, BGR)
    assert read.remarks == ((remark,) if remark else ())


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n"
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is so large, in 60 bytes."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        parts += [struct.pack(">I", len(data)), name, data, checksum]
    return b"".join(parts)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is an empty file."),
        (b"hello", "is not an image that OpenCV or Pillow can read."),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image that"),
        (EPS, "is not an image that"),  # Pillow would start Ghostscript
        (HEIC, "is a HEIC image, which is not read here; export it as JPEG or PNG."),
        (png_header(50_000, 50_000), "has more than 178,956,970 pixels; resize it first."),
        (png_header(300, 300), "is damaged or incomplete"),
    ],
)
def test_what_is_no_image(content: bytes, says: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(content)
    assert str(caught.value).startswith(says)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM"])
def test_a_file_that_is_cut_off(file_format: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    content = encoded(PIL.Image.fromarray(noise), file_format)
    with pytest.raises(ImageError, match=r"damaged or incomplete|is not an image"):
        decode_image(content[: int(len(content) * share)])


def test_what_lies_behind_a_jpeg_is_nobodys_concern() -> None:
    """A phone's video, with whatever markers."""
    content = encoded(RGB, "JPEG", quality=95, exif=b"Exif\0\0" + b"\xff\xda\xff\xd9" * 9)
    assert_close(decode_image(content + b"\xff\xda video").pixels, BGR)
    with pytest.raises(ImageError, match="the file ends before its image"):
        decode_image(content[:-2])


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    for name in ("photo.PNG", "photo", "photo.txt"):
        (tmp_path / name).write_bytes(encoded(RGB, "JPEG", quality=95))
        assert_close(read_image(tmp_path / name).pixels, BGR)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^cannot be read \(No such file"):
        read_image(tmp_path / "absent.png")
