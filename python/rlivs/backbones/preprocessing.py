"""Frames to pixel values, on any device, without the model hub's processors (which need torchvision)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class PixelRecipe:
    """How a checkpoint wants its pixels: size in pixels, mean and standard deviation per channel of values 0..1."""

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rescale: float = 1 / 255


def resize(frames: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Bicubic, antialiased resize of `[n, 3, H, W]` uint8 to `[n, 3, height, width]` uint8.

    On the CPU the interpolation itself runs in uint8, which is what the hub's video processors do there; other
    devices have no uint8 kernel, so there it runs in float32 and is rounded, as those processors do as well.
    """
    if frames.shape[-2:] == (height, width):
        return frames
    if frames.device.type == "cpu":
        return F.interpolate(frames, size=(height, width), mode="bicubic", antialias=True)
    resized = F.interpolate(frames.float(), size=(height, width), mode="bicubic", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def pixel_values(
    frames: np.ndarray | torch.Tensor, recipe: PixelRecipe, *, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """Normalised pixels `[n, 3, height, width]` in `dtype` on `device`, from `[n, H, W, 3]` uint8 RGB."""
    images = torch.as_tensor(frames)
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"frames must be uint8 [n, H, W, 3], not {images.dtype} {tuple(images.shape)}")
    images = resize(images.to(device).permute(0, 3, 1, 2).contiguous(), recipe.height, recipe.width)
    mean = torch.tensor(recipe.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(recipe.std, device=device).view(1, 3, 1, 1)
    return ((images.float() * recipe.rescale - mean) / std).to(dtype)
