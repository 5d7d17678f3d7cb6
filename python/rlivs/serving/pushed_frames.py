"""Pictures that clients push, decoded within limits."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from rlivs.serving.refusals import Refusal

_FORMATS = ("JPEG", "PNG", "WEBP")


def decode_frame(data: bytes, *, max_pixels: int) -> np.ndarray:
    """A JPEG, PNG or WebP as `[H, W, 3]` uint8 RGB. Raises Refusal, before decoding where it is too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height > max_pixels:
            raise Refusal(f"the frame is {image.width}x{image.height}; at most {max_pixels} pixels are taken", 413)
        return np.array(image.convert("RGB"))
    except Refusal:
        raise
    except Exception as error:  # a damaged picture makes Pillow raise nearly anything
        raise Refusal(f"the frame is no JPEG, PNG or WebP ({type(error).__name__})", 400, "bad_frame") from None
