"""What cameras and codecs do to a picture, cheaply: light, colour, blur and noise."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def augment(frames: np.ndarray, rng: np.random.Generator) -> Tensor:
    """One clip's frames `[n, H, W, 3]` uint8, changed a little, the same way in every frame but for the noise."""
    x = torch.from_numpy(frames).float()
    if rng.random() < 0.5:
        strength = rng.uniform(0.0, 0.12)
        kernel = torch.tensor([strength, 1 - 2 * strength, strength])
        rows = x.permute(0, 3, 1, 2)
        rows = F.pad(rows, (1, 1, 1, 1), mode="replicate")
        rows = rows[..., :-2] * kernel[0] + rows[..., 1:-1] * kernel[1] + rows[..., 2:] * kernel[2]
        rows = rows[..., :-2, :] * kernel[0] + rows[..., 1:-1, :] * kernel[1] + rows[..., 2:, :] * kernel[2]
        x = rows.permute(0, 2, 3, 1)
    gain = torch.from_numpy(rng.uniform(0.93, 1.07) * rng.uniform(0.97, 1.03, 3)).float()
    x = x * gain + float(rng.uniform(-8, 8))
    if rng.random() < 0.7:
        noise = rng.standard_normal(x.shape, dtype=np.float32)
        x = x + torch.from_numpy(noise) * float(rng.uniform(0, 4))
    return x.round_().clamp_(0, 255).to(torch.uint8)
