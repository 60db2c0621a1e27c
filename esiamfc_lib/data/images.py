"""Images: decoded, encoded, read and written; always RGB, uint8, (H, W, 3)."""

from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import in_order

IMAGES = {".jpg", ".jpeg", ".png", ".bmp"}


def image_files(folder: Path) -> list[Path]:
    """A folder's images, ``in_order``: none where it is no folder."""
    found = folder.iterdir() if folder.is_dir() else ()
    return in_order(file for file in found if file.suffix.lower() in IMAGES)


def decode_image(data: bytes | memoryview | np.ndarray, name: str = "image") -> np.ndarray:
    """JPEG or PNG bytes as uint8 (H, W, 3) RGB, grey ones too; a StudyError if they are damaged."""
    buffer = np.frombuffer(data, dtype=np.uint8)
    # A camera's Exif data can turn the image, which is left to OpenCV.
    if buffer[:2].tobytes() == b"\xff\xd8" and b"Exif" not in buffer[:4096].tobytes():
        # The same pixels as OpenCV's, sooner. What it refuses is OpenCV's to judge.
        try:
            return simplejpeg.decode_jpeg(buffer, "RGB")
        except ValueError:
            pass
    image = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB) if buffer.size else None
    if image is None:
        fault = "truncated or no image" if buffer.size else "empty"
        raise StudyError(f"{name}: the file is {fault}")
    return image


def decode_into(out: np.ndarray, data: bytes | memoryview, name: str = "image") -> None:
    """Decode into uint8 ``out`` (H, W, 3), contiguous, without a copy where it is a JPEG.

    For crops of the store: Exif data that turn an image are not looked for. Errors as in
    ``decode_image``, and for an image of another size.
    """
    try:
        image = simplejpeg.decode_jpeg(data, "RGB", buffer=out)
    except ValueError:
        image = decode_image(data, name)
    if image.shape != out.shape:
        raise StudyError(
            f"{name}: {image.shape[1]}×{image.shape[0]} pixels where "
            f"{out.shape[1]}×{out.shape[0]} are expected"
        )
    if image.ctypes.data != out.ctypes.data:
        out[:] = image


def read_image(path: str | Path) -> np.ndarray:
    """An image file as uint8 (H, W, 3) RGB; a StudyError if it is missing or damaged."""
    return decode_image(read_bytes(path), str(path))


def read_bytes(path: str | Path) -> bytes:
    """The file's content; a StudyError if it is missing or cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StudyError(f"cannot read {path}: {error.strerror}") from error


def read_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image file, in pixels; errors as in ``read_image``."""
    height, width = read_image(path).shape[:2]
    return width, height


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """JPEG bytes of a uint8 (H, W, 3) RGB image."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise StudyError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return data.tobytes()


def write_image(path: str | Path, image: np.ndarray, quality: int = 95) -> None:
    """Write a uint8 (H, W, 3) RGB image as JPEG."""
    Path(path).write_bytes(encode_jpeg(image, quality))
