"""Which ids are the caption, and which query rows count for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rlivs.errors import InputError
from rlivs.scoring.generation import Generation, returned_ids


def new_ids(out: Any, generation: Generation | None) -> torch.Tensor:
    """The generated ids `[B, N]` in what generate returned, without the prompt's. Raises InputError if there are none.

    What another loop made (`generation` None) is taken to be new ids only.
    """
    ids = returned_ids(out)
    if not isinstance(ids, torch.Tensor) or ids.dim() != 2 or ids.is_floating_point():
        raise InputError("scores takes what generate returned, or the new ids as a tensor [B, N]")
    returned = None if generation is None else generation.returned_length
    if generation is not None and returned is not None:
        if ids.shape[1] not in (returned, returned - generation.prompt_ids):
            raise InputError(f"got {ids.shape[1]} ids a row, generate returned {returned}; pass its output as it is")
        if ids.shape[1] == returned:
            ids = ids[:, generation.prompt_ids :]
    if ids.shape[1] == 0:
        raise InputError("there is no caption token to score; generate at least one")
    return ids


def counted_rows(
    ids: torch.Tensor,
    eos_token_ids: tuple[int, ...],
    include_last_prompt_row: bool,
    padding_id: int | None = None,
    lengths: Sequence[int] | None = None,
) -> torch.Tensor:
    """Bool `[B, N]`: which of the rows from the last prompt row on count for each caption, ids `[B, N]`.

    A caption is its tokens up to and including the first end-of-sequence token; what follows is padding, and so are
    `padding_id`s at its end, where captions may end otherwise. With `lengths`, how many tokens each has, neither is
    looked for. Its first token always counts. Row t is the one that produced token t, and is itself the row of token
    t - 1 (row 0: the last prompt row). With `include_last_prompt_row`
    the rows that produced the caption's tokens count. Without, those of the tokens themselves: every token of the
    caption but its last one, whose row is never computed in plain decoding. A caption of one token has no such row; the
    one that produced it counts.
    """
    ends = torch.zeros_like(ids, dtype=torch.bool)
    for token in eos_token_ids:
        ends |= ids == token
    caption = ends.int().cumsum(1) - ends.int() == 0
    if padding_id is not None:
        words = (ids != padding_id) | (ends & caption)
        words[:, 0] = True
        caption &= words.int().flip(1).cumsum(1).flip(1) > 0
    if lengths is not None:
        if len(lengths) != ids.shape[0] or not all(1 <= length <= ids.shape[1] for length in lengths):
            raise InputError(
                f"lengths {list(lengths)} do not fit ids {list(ids.shape)}; give one a row, 1 to {ids.shape[1]}"
            )
        caption = torch.arange(ids.shape[1], device=ids.device) < torch.tensor(lengths, device=ids.device)[:, None]
    if not include_last_prompt_row:
        caption[:, 0] = caption.sum(1) == 1
    return caption
