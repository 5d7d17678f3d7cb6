"""Ways of keeping k of a clip's visual tokens."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

import rlivs_kernels as rk
from benchmarks.quality.world.spread import uniform_columns

METHODS = ("attention", "uniform", "plain stride", "random", "mean-pool", "k-means", "oracle mask")


def kept_columns(
    method: str, count: int, scores: np.ndarray, cover: np.ndarray, seed: tuple[int, ...]
) -> Tensor | None:
    """Columns `[count]`, ascending, or None for methods that make new tokens."""
    total = len(scores)
    if method == "attention":
        return rk.select_top_tokens(torch.from_numpy(scores)[None].float(), count)[0]
    if method == "oracle mask":
        return rk.select_top_tokens(torch.from_numpy(cover)[None].float(), count)[0]
    if method == "uniform":
        return uniform_columns(count, total)
    if method == "plain stride":  # at 16 the same cell of every frame
        return torch.arange(count) * total // count + total // (2 * count)
    if method == "random":
        return torch.from_numpy(np.sort(np.random.default_rng(seed).choice(total, count, replace=False)))
    return None


def kept_tokens(
    method: str, count: int, tokens: Tensor, scores: np.ndarray, cover: np.ndarray, seed: tuple[int, ...]
) -> tuple[Tensor, Tensor | None]:
    """The kept tokens `[count, hidden]` of a clip's `[256, hidden]`, and their columns where they have any."""
    columns = kept_columns(method, count, scores, cover, seed)
    if columns is not None:
        return tokens[columns], columns
    if count == len(tokens):
        return tokens, torch.arange(count)
    if method == "mean-pool":
        edges = [len(tokens) * i // count for i in range(count + 1)]
        return torch.stack([tokens[a:b].mean(0) for a, b in pairwise(edges)]), None
    return _k_means(tokens, count), None


def _k_means(tokens: Tensor, count: int, rounds: int = 12) -> Tensor:
    """Lloyd's centroids from evenly spread starts, in the order of their members' mean place in the clip."""
    centroids = tokens[torch.arange(count) * len(tokens) // count + len(tokens) // (2 * count)].clone()
    place = torch.arange(len(tokens)).float()
    for _ in range(rounds):
        nearest = torch.cdist(tokens, centroids).argmin(1)
        members = torch.nn.functional.one_hot(nearest, count).float()
        sizes = members.sum(0)
        moved = members.T @ tokens / sizes.clamp(min=1)[:, None]
        centroids = torch.where(sizes[:, None] > 0, moved, centroids)
    order = (members.T @ place) / sizes.clamp(min=1)
    return centroids[order.argsort(stable=True)]
