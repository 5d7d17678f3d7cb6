"""Picks the columns with the highest scores."""

import torch
from torch import Tensor


def select_top_tokens(scores: Tensor, k: int) -> Tensor:
    """The k highest scores of each row, as ascending indices, so that tokens keep their temporal order (rLiVS, arXiv
    2510.17364, section 3.2).

    scores [B, N] of any floating dtype -> int64 [B, k] on the same device. Of equal scores the lower index wins. NaN
    counts as -inf, so it is taken last. Raises ValueError when k is not in 1..N.
    """
    if scores.dim() != 2 or not scores.is_floating_point():
        raise ValueError(
            f"scores must be a floating tensor [B, N], got {scores.dtype} {list(scores.shape)}; add the batch dimension"
        )
    num_columns = scores.shape[1]
    if not 1 <= k <= num_columns:
        raise ValueError(f"k = {k} but there are {num_columns} columns; choose 1 <= k <= {num_columns}")
    ranked = scores.masked_fill(scores.isnan(), -torch.inf)
    # topk leaves the order of equal scores open; a stable sort does not.
    order = torch.sort(ranked, dim=1, descending=True, stable=True).indices
    return order[:, :k].sort(dim=1).values
