"""Where each batch row's keys begin, read from the mask that the model's attention was given."""

from __future__ import annotations

from typing import Any

import torch

from rlivs.errors import InputError

_CURE = "pad on the left and pass a 2D attention_mask"


def last_row(mask: Any) -> Any:
    """The part of an attention mask that says which keys the call's last query row sees; small enough to keep."""
    if isinstance(mask, torch.Tensor) and mask.dim() == 4:
        return mask[:, :, -1:].clone() if mask.shape[2] > 1 else mask
    return mask


def key_starts(row: Any, end: int, batch: int) -> torch.Tensor | None:
    """Int64 `[B]`: the first key each batch row sees (left padding), None if all see key 0.

    `row` is what `last_row` returned for a query row at position end - 1. Raises InputError if the row sees anything
    but the keys from some first one up to itself.
    """
    if row is None:
        return None
    visible = _visible(row, batch).expand(batch, -1)
    position = torch.arange(visible.shape[1], device=visible.device)
    starts = visible.int().argmax(1)
    if visible.shape[1] < end or not torch.equal(visible, (position >= starts[:, None]) & (position < end)):
        raise InputError(f"the attention mask hides keys in the middle of the prompt, or is not causal; {_CURE}")
    return starts if bool(starts.any()) else None


def _visible(row: Any, batch: int) -> torch.Tensor:
    """Bool `[B or 1, S]`."""
    mask_mod = getattr(row, "mask_mod", None)
    if mask_mod is not None:  # flex attention's BlockMask
        num_rows, num_keys = row.seq_lengths
        device = row.kv_num_blocks.device
        batch_index = torch.arange(batch, device=device)[:, None]
        head, last = torch.zeros((), dtype=torch.int64, device=device), torch.tensor(num_rows - 1, device=device)
        return mask_mod(batch_index, head, last, torch.arange(num_keys, device=device)).expand(batch, -1)
    if isinstance(row, torch.Tensor) and row.dim() == 2:  # flash attention: True where a key is no padding
        return row.bool()
    if isinstance(row, torch.Tensor) and row.dim() == 4 and row.shape[1] == 1:
        if row.dtype == torch.bool:
            return row[:, 0, 0]
        visible = row[:, 0, 0] > torch.finfo(row.dtype).min / 2
        if bool((row[:, 0, 0] * visible).nan_to_num().any()):
            raise InputError(f"the attention mask adds to the logits, which scoring does not cover; {_CURE}")
        return visible
    raise InputError(f"an attention mask of this form cannot be scored over; {_CURE}")
