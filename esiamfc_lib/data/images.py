"""Images: decoded, encoded, read and written; always RGB, uint8, (H, W, 3)."""

import errno
import io
import math
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import in_order

JPEG = {".jpg", ".jpeg"}
IMAGES = {*JPEG, ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".jp2"}
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP", "GIF", "JPEG2000")
MOST_PIXELS = 89_000_000  # of one image: Pillow's own limit, and 12K video has 80 million
MOST_BYTES = 1 << 28  # of one file
TOO_LARGE = "is no regular file of at most {:,} bytes"
WAITS = (0.2, 1, 3)  # seconds before a file is tried again
PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.ENOTCONN, errno.EREMOTEIO}


def image_files(folder: Path, endings: set[str] = IMAGES) -> list[Path]:
    """A folder's images, ``in_order``: none where it is not a folder. A StudyError where the names
    differ in more than numbers: a picture beside the frames is none of them."""
    found = folder.iterdir() if folder.is_dir() else ()
    frames = in_order(file for file in found if file.suffix.lower() in endings)
    names = {re.sub(r"\d+", "0", frame.stem.casefold()): frame.name for frame in frames}
    if len(names) > 1:
        raise StudyError(f"{folder}: frames of two namings, {' and '.join([*names.values()][:2])}")
    return frames


def of_one_size(names: Iterable[str | Path], decoded: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The images of these names, in order; a StudyError that names the first of another size."""
    first = None
    for name, image in zip(names, decoded, strict=True):
        first = first or (name, image.shape)
        if image.shape != first[1]:
            raise StudyError(f"{name} has another size than {first[0]}")
        yield image


def decode_image(data: bytes | memoryview | np.ndarray, name: str = "image") -> np.ndarray:
    """Bytes of an image in ``FORMATS`` as uint8 (H, W, 3) RGB, grey ones too; a StudyError if
    they are damaged, or promise more than ``MOST_PIXELS``: no memory is taken for those."""
    buffer, image = np.frombuffer(data, dtype=np.uint8), None
    fault = "is truncated or no image" if buffer.size else "is empty"
    # A camera's Exif data can turn the image, which is left to OpenCV.
    if buffer[:2].tobytes() == b"\xff\xd8" and b"Exif" not in buffer[:4096].tobytes():
        # The same pixels as OpenCV's, sooner. What it refuses is OpenCV's to judge.
        with suppress(ValueError):
            if math.prod(simplejpeg.decode_jpeg_header(buffer)[:2]) <= MOST_PIXELS:
                return simplejpeg.decode_jpeg(buffer, "RGB")
    try:
        with Image.open(io.BytesIO(buffer), formats=FORMATS) as header:
            if math.prod(header.size) > MOST_PIXELS:
                raise Image.DecompressionBombError
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB)
    except Image.DecompressionBombError:  # raised by Pillow, too
        fault = f"promises more than {MOST_PIXELS:,} pixels"
    except (OSError, SyntaxError, ValueError, cv2.error):
        pass
    if image is None:
        raise StudyError(f"{name}: the file {fault}")
    return image


def decode_into(out: np.ndarray, data: bytes | memoryview, name: str = "image") -> None:
    """Decode into uint8 ``out`` (H, W, 3), contiguous, without a copy where it is a JPEG. For crops
    of the store: Exif data that turn an image are not looked for. Errors as in ``decode_image``,
    and for an image of another size."""
    try:
        image = simplejpeg.decode_jpeg(data, "RGB", buffer=out)
    except ValueError:
        image = decode_image(data, name)
    if image.shape != out.shape:
        there, here = ("×".join(map(str, of.shape[1::-1])) for of in (image, out))
        raise StudyError(f"{name}: {there} pixels where {here} are expected")
    if image.ctypes.data != out.ctypes.data:
        out[:] = image


def read_image(path: str | Path) -> np.ndarray:
    """An image file as uint8 (H, W, 3) RGB; a StudyError if it is missing or damaged."""
    return decode_image(read_bytes(path), str(path))


def read_bytes(path: str | Path, most: int = MOST_BYTES, seen: bool = False) -> bytes:
    """A file's content; a StudyError if it is missing, a pipe or the like, or has more than
    ``most`` bytes. What a disk or network refuses for a moment is tried again. Then it is an
    OSError, as are all faults of a file that was ``seen`` before: they are the machine's and not
    the file's."""
    for wait in (*WAITS, None):
        try:
            status = Path(path).stat()
            if stat.S_ISREG(status.st_mode) and status.st_size <= most:
                return Path(path).read_bytes()
            raise StudyError(f"{path} {TOO_LARGE.format(most)}")
        except OSError as error:
            if error.errno not in PASSING and not seen:
                raise StudyError(f"cannot read {path}: {error.strerror}") from error
            if wait is None:
                raise
            time.sleep(wait)


def read_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image file, in pixels; errors as in ``read_image``."""
    return read_image(path).shape[1::-1]


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """JPEG bytes of a uint8 (H, W, 3) RGB image."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise StudyError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return data.tobytes()


def write_image(path: str | Path, image: np.ndarray, quality: int = 95) -> None:
    """Write a uint8 (H, W, 3) RGB image as JPEG."""
    Path(path).write_bytes(encode_jpeg(image, quality))
