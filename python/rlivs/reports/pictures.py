"""Frames and score grids as small images inside the page."""

import base64
import io

import numpy as np
from PIL import Image

from rlivs.reports.colours import heat_layer

JPEG_QUALITY = 80


def shrink_frames(frames: np.ndarray, longest: int) -> np.ndarray:
    """`[n, H, W, 3]` uint8 with no side above `longest` pixels, shape of the picture kept; never enlarged.

    A long stream need not hold its full frames until the report is written: shrink each clip's to 128 as it passes.
    """
    if not len(frames) or max(frames.shape[1:3]) <= longest:
        return frames
    height, width = frames.shape[1:3]
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in frames])


def jpeg_uri(frame: np.ndarray) -> str:
    """A frame `[H, W, 3]` uint8 as a JPEG data URI."""
    buffer = io.BytesIO()
    # Full chroma: halving it smears the small coloured things that these thumbnails are looked at for.
    Image.fromarray(frame).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return _data_uri("image/jpeg", buffer)


def heat_uri(values: np.ndarray) -> str:
    """Normalised scores `[rows, cols]` in 0..1 as a PNG data URI of one pixel a token."""
    buffer = io.BytesIO()
    Image.fromarray(heat_layer(values)).save(buffer, "PNG", optimize=True)
    return _data_uri("image/png", buffer)


def _data_uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
