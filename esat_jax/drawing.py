"""Draws predictions on frames."""

import math

import cv2
import numpy as np

TRACKED_RGB = (60, 220, 60)
LOST_RGB = (255, 70, 60)
OTHER_RGB = (255, 200, 40)  # the given box, and boxes of damaged frames
MIN_SIDE_PX = 240  # smaller frames are enlarged, or the text would hide them


def draw_box(
    frame: np.ndarray, box_xywh: np.ndarray, label: str, color_rgb: tuple, note: str = ""
) -> np.ndarray:
    """A copy of the frame with a box, a label at the box, and a note in the lower left corner.

    Args: frame uint8 RGB [height, width, 3]; box_xywh [4] px, any part may lie outside.
    Returns: uint8 RGB, enlarged by an integer if the frame is small. Lines and letters grow with
      the frame, and have a dark ground, so that they can be read on any frame.
    """
    enlarge = math.ceil(MIN_SIDE_PX / min(frame.shape[:2]))
    # To repeat takes many times as long as to copy, even once.
    image = frame.copy() if enlarge == 1 else frame.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    line = max(1, round(min(image.shape[:2]) / 180))
    x, y, w, h = (np.asarray(box_xywh, np.float64) * enlarge).tolist()
    corners = (round(x), round(y)), (round(x + w), round(y + h))
    cv2.rectangle(image, *corners, (0, 0, 0), 3 * line)
    cv2.rectangle(image, *corners, color_rgb, line)
    upper_left, below = (corners[0][0], corners[0][1] - 2 * line), corners[1][1] + 2 * line
    _write(image, label, upper_left, color_rgb, otherwise_below=below)
    _write(image, note, (0, image.shape[0]), OTHER_RGB)
    return image


def encode_png(image: np.ndarray) -> bytes:
    """An image, uint8 RGB [height, width, 3], as the content of a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def _write(
    image: np.ndarray,
    text: str,
    lower_left: tuple[int, int],
    color_rgb: tuple,
    otherwise_below: int | None = None,
) -> None:
    """Writes on a dark ground, moved as far as needed to lie inside the image.

    With `otherwise_below`, text without room above its lower left goes below that row instead.
    """
    if not text:
        return
    height, width = image.shape[:2]
    scale = min(height, width) / 600 + 0.1
    thick = max(1, round(1.5 * scale))
    font = cv2.FONT_HERSHEY_SIMPLEX
    (text_width, text_height), below = cv2.getTextSize(text, font, scale, thick)
    if text_width > width:
        scale *= width / text_width
        (text_width, text_height), below = cv2.getTextSize(text, font, scale, thick)
    left = min(max(lower_left[0], 0), width - text_width)
    high, bottom = text_height + 2 * below, lower_left[1]
    if otherwise_below is not None and bottom < high <= height - max(otherwise_below, 0):
        bottom = max(otherwise_below, 0) + high
    bottom = min(max(bottom, high), height)
    top = bottom - high
    cv2.rectangle(image, (left, top), (left + text_width, bottom), (0, 0, 0), cv2.FILLED)
    cv2.putText(image, text, (left, bottom - below), font, scale, color_rgb, thick, cv2.LINE_AA)


def encode_jpeg(image: np.ndarray, quality: int = 82) -> bytes:
    """An image, uint8 RGB [height, width, 3], as the content of a JPEG file."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def resize_image(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """An image [height, width, ...] of another size, px, without aliasing."""
    smaller = width < image.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=how)


def heat_colors(values: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1], any [height, width], as uint8 RGB from dark blue to light yellow."""
    gray = np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(gray, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
