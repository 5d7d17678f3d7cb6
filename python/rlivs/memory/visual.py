"""The visual memory: the selected tokens of the last clips (arXiv 2510.17364, section 3.2)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from rlivs.errors import InputError

_EXTRA = "extras."


@dataclass(frozen=True)
class SelectedTokens:
    """The tokens kept of one clip, in their original order.

    embeddings: `[k, hidden]`, any float dtype; indices: `[k]` int64, their columns among the clip's visual tokens;
    extras: more tensors with one row a token, `[k, ...]` (a backbone's deepstack vectors, for example).
    Raises ValueError where the shapes do not agree.
    """

    clip_index: int
    embeddings: Tensor
    indices: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2:
            raise ValueError(f"embeddings must be [k, hidden], not {list(self.embeddings.shape)}")
        k = self.embeddings.shape[0]
        if self.indices.shape != (k,) or self.indices.dtype != torch.int64:
            raise ValueError(
                f"indices must be int64 [{k}], one for each embedding, "
                f"not {self.indices.dtype} {list(self.indices.shape)}"
            )
        for name, tensor in self.extras.items():
            if tensor.ndim < 1 or tensor.shape[0] != k:
                raise ValueError(f"extras[{name!r}] must have {k} rows, one for each embedding")


class VisualMemory:
    """First in, first out: the selected tokens of the last `slots` clips."""

    def __init__(self, slots: int = 16) -> None:
        """`slots`: clips remembered; 0 remembers nothing. Raises ValueError if it is negative."""
        if slots < 0:
            raise ValueError(f"slots is {slots}; give 0 or more")
        self._slots: deque[SelectedTokens] = deque(maxlen=slots)

    def push(self, tokens: SelectedTokens) -> None:
        """Remember `tokens`, forgetting the oldest when every slot is taken."""
        self._slots.append(tokens)

    @property
    def slots(self) -> tuple[SelectedTokens, ...]:
        """What is remembered, oldest first."""
        return tuple(self._slots)

    def embeddings(self) -> Tensor | None:
        """All remembered embeddings `[m, hidden]`, oldest clip first; None when nothing is remembered."""
        if not self._slots:
            return None
        return torch.cat([tokens.embeddings for tokens in self._slots])

    @staticmethod
    def to_bytes(tokens: SelectedTokens) -> bytes:
        """`tokens` as safetensors, bit for bit, in their own dtypes."""
        tensors = {
            "clip_index": torch.tensor(tokens.clip_index),
            "embeddings": tokens.embeddings,
            "indices": tokens.indices,
            **{_EXTRA + name: tensor for name, tensor in tokens.extras.items()},
        }
        # Copies: safetensors takes neither views into one storage nor tensors on a GPU.
        return safetensors.torch.save({name: _copy(tensor) for name, tensor in tensors.items()})

    @staticmethod
    def from_bytes(data: bytes) -> SelectedTokens:
        """What `to_bytes` made `data` from, on the CPU. Raises InputError for anything else."""
        try:
            tensors = safetensors.torch.load(data)
            return SelectedTokens(
                clip_index=int(tensors["clip_index"]),
                embeddings=tensors["embeddings"],
                indices=tensors["indices"],
                extras={name[len(_EXTRA) :]: each for name, each in tensors.items() if name.startswith(_EXTRA)},
            )
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                "a slot of the visual memory is damaged; caption the stream again into a new memory file"
            ) from error


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
