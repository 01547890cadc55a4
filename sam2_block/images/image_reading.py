"""Reading of image files with OpenCV or Pillow, as 8-bit BGR in upright orientation."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from sam2_block.errors import ImageError
from sam2_block.images.image_arrays import Image
from sam2_block.images.pixel_depth import significant_bits, to_eight_bits
from sam2_block.messages.one_line import one_line

# Excluded: formats that Pillow recognizes by a weak signature (TGA), or by starting another program
# (EPS).
_PILLOW_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# Formats whose orientation is applied here; OpenCV applies that of the others.
_ORIENTED_HERE = ("AVIF", "WEBP")
_ORIENTATION, _PHOTOMETRIC, _MIN_IS_WHITE = 0x0112, 262, 0
_MODES_WITH_ALPHA = ("LA", "RGBA")
_BINARY_NETPBM = re.compile(rb"P[56](?:(?:\s|#[^\n]*\n)+(\d{1,5})){3}\s")  # captures the maximum

# Transformations from the stored to the upright order of pixels, by the value of the tag
# Orientation (EXIF 2.32, 4.6.4).
_UPRIGHT: dict[int, Callable[[Any], Any]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True)
class ReadImage:
    """An image, and remarks on how it was read.

    Attributes:
        pixels: `(H, W, 3)` BGR, 0 to 255, in upright orientation.
        remarks: One clause for each part of the file that was left out or rescaled.
    """

    pixels: Image
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Header:
    """What Pillow reads of a file before the pixels; the defaults if it does not recognize it."""

    format: str = ""
    mode: str = ""
    orientation: int = 1
    frames: int = 1
    min_is_white: bool = False


def read_image(path: Path) -> ReadImage:
    """Read an image file: its first page or frame, without transparency.

    Raises:
        ImageError: The file cannot be read, or is not a complete image.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror}).") from error
    return decode_image(content)


def decode_image(content: bytes) -> ReadImage:
    """Decode the content of an image file, as `read_image` does."""
    if not content:
        raise ImageError("is an empty file.")
    header = _read_header(content)
    if header.format in ("JPEG", "MPO") and _ends_early(content):
        raise ImageError("is damaged or incomplete (the file ends before its image).")
    # OpenCV multiplies the colors of an 8-bit TIFF by their alpha, reads GIF only since 4.11, and
    # treats 255 as white in a binary PGM or PPM, whatever maximum the file declares.
    netpbm = _BINARY_NETPBM.match(content)
    by_pillow = (
        header.format == "GIF"
        or (header.format == "TIFF" and header.mode in _MODES_WITH_ALPHA)
        or (netpbm is not None and int(netpbm[1]) < 255)
    )
    decoded = None if by_pillow else _decode_by_opencv(content, header)
    pixels, depth_remark = decoded or _decode_by_pillow(content)
    remarks = filter(None, (_frames_remark(header), depth_remark))
    return ReadImage(np.ascontiguousarray(pixels), tuple(remarks))


def _read_header(content: bytes) -> _Header:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata, and images that are merely large
            with PIL.Image.open(io.BytesIO(content), formats=_PILLOW_FORMATS) as image:
                return _Header(
                    format=image.format or "",
                    mode=image.mode,
                    orientation=_orientation(image),
                    min_is_white=_is_min_white(image),
                    frames=_count_frames(image),
                )
    except PIL.Image.DecompressionBombError as error:
        limit = 2 * (PIL.Image.MAX_IMAGE_PIXELS or 0)
        raise ImageError(f"has more than {limit:,} pixels; resize it first.") from error
    except Exception:  # a damaged file can fail anywhere in a parser; decoding reports the reason
        return _Header()


def _ends_early(content: bytes) -> bool:
    """Whether a JPEG has no end-of-image marker after its first scan.

    OpenCV 4.8 fills the missing part with grey. Any bytes may follow the marker: phones append
    videos.
    """
    position = 2
    while content[position : position + 1] == b"\xff":
        if content[position + 1 : position + 2] == b"\xda":
            return content.find(b"\xff\xd9", position) < 0
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return False  # an unknown layout: the decoder decides


def _orientation(image: PIL.Image.Image) -> int:
    if image.format not in _ORIENTED_HERE:  # for PNG, `getexif` would decode the pixels
        return 1
    return int(image.getexif().get(_ORIENTATION, 1))


def _is_min_white(image: PIL.Image.Image) -> bool:
    tags = getattr(image, "tag_v2", {})
    return bool(tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE)


def _count_frames(image: PIL.Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # the first frame is intact, a later one is not
        return 1


def _frames_remark(header: _Header) -> str:
    if header.frames == 1 or header.format == "MPO":  # its other frames are previews
        return ""
    unit = "page" if header.format == "TIFF" else "frame"
    return f"only the first of {header.frames} {unit}s is read"


def _decode_by_opencv(content: bytes, header: _Header) -> tuple[Image, str] | None:
    # For AVIF and Radiance HDR, OpenCV knows the value range; the pixels alone do not show it.
    knows_range = header.format == "AVIF" or content.startswith(b"#?")
    color = cv2.IMREAD_COLOR
    if header.format in _ORIENTED_HERE:
        color |= cv2.IMREAD_IGNORE_ORIENTATION
    decoded = _imdecode(content, color | (0 if knows_range else cv2.IMREAD_ANYDEPTH))
    if decoded is None:
        decoded = _imdecode(content, cv2.IMREAD_UNCHANGED)  # grey of 32 bits and more
    if decoded is None:
        return None
    pixels, remark = to_eight_bits(decoded)
    scaled = None
    if decoded.dtype == np.uint16 and significant_bits(decoded) == 16:
        scaled = _imdecode(content, color)
    if scaled is not None:
        pixels = scaled  # OpenCV's own scaling, the default of its readers
    elif remark and header.min_is_white:
        pixels = 255 - pixels
    return _UPRIGHT.get(header.orientation, np.asarray)(pixels), remark


def _imdecode(content: bytes, flags: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:  # more pixels than OpenCV accepts
        return None


def _decode_by_pillow(content: bytes) -> tuple[Image, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(content), formats=_PILLOW_FORMATS) as opened:
                image = PIL.ImageOps.exif_transpose(opened)
                deep = image.mode.startswith(("I", "F"))
                pixels = np.asarray(image if deep else image.convert("RGB"))
    except PIL.UnidentifiedImageError as error:
        raise ImageError(_unknown_format(content)) from error
    except Exception as error:  # a damaged file can fail anywhere in a parser
        raise ImageError(f"is damaged or incomplete ({one_line(str(error), 80)}).") from error
    return to_eight_bits(pixels if deep else pixels[..., ::-1])


def _unknown_format(content: bytes) -> str:
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        return "is a HEIC image, which is not read here; export it as JPEG or PNG."
    return "is not an image that OpenCV or Pillow can read."
