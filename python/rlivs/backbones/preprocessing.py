"""Frames to pixel values, on any device, without the model hub's processors (which need torchvision)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from rlivs.errors import InputError

# The codes of `resample` in a processor's settings, as Pillow numbers them; torch has no Lanczos, and bicubic is
# what the hub's own processors fall back to there.
FILTERS = {1: "bicubic", 2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class PixelRecipe:
    """How a checkpoint wants its pixels: size in pixels, mean and standard deviation per channel of values 0..1."""

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rescale: float = 1 / 255
    filter: str = "bicubic"

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> PixelRecipe:
        """From the `size`, `image_mean`, `image_std`, `rescale_factor` and `resample` of a processor's settings.

        A `shortest_edge` is taken as the side of a square. Raises InputError for a size of another kind.
        """
        size = settings["size"]
        if isinstance(size, Mapping):
            side = size.get("shortest_edge")
            height, width = size.get("height", side), size.get("width", side)
        else:
            height = width = size
        if not isinstance(height, int) or not isinstance(width, int):
            raise InputError(f"the checkpoint's preprocessor has size {size}; give it a height and a width in pixels")
        return cls(
            height=height,
            width=width,
            mean=tuple(settings["image_mean"]),
            std=tuple(settings["image_std"]),
            rescale=float(settings.get("rescale_factor", 1 / 255)),
            filter=FILTERS.get(settings.get("resample", 3), "bicubic"),
        )


def pixel_values(
    frames: np.ndarray | torch.Tensor, recipe: PixelRecipe, *, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """Normalised pixels `[n, 3, height, width]` in `dtype` on `device`, from `[n, H, W, 3]` uint8 RGB."""
    images = resize(channels_first(frames, device), recipe.height, recipe.width, recipe.filter)
    return normalise(images, recipe).to(dtype)


def channels_first(frames: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """`[n, 3, H, W]` uint8 on `device` from frames `[n, H, W, 3]` uint8. Raises InputError for anything else."""
    if isinstance(frames, np.ndarray):
        frames = torch.from_numpy(np.require(frames, requirements=["C", "W"]))
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise InputError(
            f"frames are {frames.dtype} {tuple(frames.shape)}; give one or more uint8 RGB frames [n, height, width, 3]"
        )
    return frames.to(device).permute(0, 3, 1, 2).contiguous()


def resize(images: torch.Tensor, height: int, width: int, filter: str = "bicubic") -> torch.Tensor:
    """Antialiased resize of `[n, 3, H, W]` uint8 to `[n, 3, height, width]` uint8, as Pillow does it.

    On the CPU the interpolation itself runs in uint8, which is what the hub's video processors do there. Other devices
    have no uint8 kernel; `resize_in_float` gives the same pixels, but for roundings.
    """
    if images.shape[-2:] == (height, width):
        return images
    if images.device.type == "cpu":
        return F.interpolate(images, size=(height, width), mode=filter, antialias=True)
    return resize_in_float(images, height, width, filter)


def resize_in_float(images: torch.Tensor, height: int, width: int, filter: str = "bicubic") -> torch.Tensor:
    """As `resize`: first the width, then the height, in float32, each rounded and clamped to 0..255.

    In one step the overshoot at edges would reach the second pass unclamped and differ by up to 20 levels.
    """
    for size in ((images.shape[-2], width), (height, width)):
        resized = F.interpolate(images.float(), size=size, mode=filter, antialias=True)
        images = resized.round_().clamp_(0, 255).to(torch.uint8)
    return images


def resize_to_cover(images: torch.Tensor, height: int, width: int, filter: str = "bicubic") -> torch.Tensor:
    """The smallest resize of `[n, 3, H, W]` uint8, its shape kept, that covers `height` x `width`."""
    old_height, old_width = images.shape[-2:]
    if old_height * width >= old_width * height:
        return resize(images, width * old_height // old_width, width, filter)
    return resize(images, height, height * old_width // old_height, filter)


def centre_crop(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The middle `height` x `width` pixels of `[n, 3, H, W]`."""
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    return images[..., top : top + height, left : left + width]


def normalise(images: torch.Tensor, recipe: PixelRecipe) -> torch.Tensor:
    """`(images * rescale - mean) / std` per channel, float32, of `[n, 3, H, W]` uint8."""
    mean = torch.tensor(recipe.mean, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(recipe.std, device=images.device).view(1, 3, 1, 1)
    return (images.float() * recipe.rescale - mean) / std
