"""Texts to vectors whose dot product is their cosine similarity."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from rlivs.errors import InputError
from rlivs.memory.sentence_directory import digest, read_sentence_directory

_SAMPLED_ROWS = 256
_BATCH = 32


class Embedder(Protocol):
    """Texts to vectors. Vectors are comparable where `id` is the same."""

    @property
    def id(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def embed(self, texts: list[str]) -> np.ndarray:
        """`[len(texts), dim]` float32, L2-normalised; a text without a single token gives zeros."""
        ...


class LanguageModelEmbedder:
    """The mean of the language model's own input embeddings over a text's tokens (arXiv 2510.17364, section 3.3).

    `id` names the kind of model and digests its embedding table (size, and the signs of 256 rows): another model's
    vectors are told apart, the same model's in another precision are not.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        """`model`: any Hugging Face model with `get_input_embeddings`; `tokenizer`: its own."""
        self._embeddings = model.get_input_embeddings()
        self._tokenizer = tokenizer
        count, self.dim = self._embeddings.weight.shape
        kind = getattr(getattr(model, "config", None), "model_type", "model")
        rows = torch.linspace(0, count - 1, min(count, _SAMPLED_ROWS), dtype=torch.float64).long()
        # Rounding to half precision keeps signs.
        signs = torch.signbit(self._vectors(rows)).numpy()
        told_apart = hashlib.sha256(f"{count} {self.dim} ".encode() + np.packbits(signs).tobytes()).hexdigest()
        self.id = f"llm:{kind}:{told_apart[:16]}"

    def embed(self, texts: list[str]) -> np.ndarray:
        """`[len(texts), dim]` float32, L2-normalised; a text without a single token gives zeros."""
        means = np.zeros((len(texts), self.dim), np.float32)
        for mean, text in zip(means, texts, strict=True):
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            if ids:
                mean[:] = self._vectors(torch.tensor(ids)).mean(0).numpy()
        return _normalised(means)

    @torch.inference_mode()
    def _vectors(self, ids: Tensor) -> Tensor:
        # Through the module, not its weight: it may be quantised, or wait on another device until called.
        device = self._embeddings.weight.device
        return self._embeddings(ids if device.type == "meta" else ids.to(device)).float().cpu()


class SentenceEmbedder:
    """A sentence-embedding model in a local directory: pooled token vectors of a transformers model.

    Pooling is the mean over the attention mask or the first token, as the directory's sentence-transformers files
    say; the mean where there are none. `id` holds the SHA-256 of the weights.
    """

    def __init__(self, directory: str | PathLike[str]) -> None:
        """Read the model. Raises InputError for an incomplete directory, naming what is missing, or one whose
        sentence-transformers modules go beyond a transformer, its pooling and a normalisation."""
        root = Path(directory)
        found = read_sentence_directory(root)
        from transformers import AutoModel, AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(found.transformer, local_files_only=True)
            model = AutoModel.from_pretrained(found.transformer, local_files_only=True, dtype=torch.float32)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(
                f"the sentence-embedding model in {root} cannot be read ({reason}); get it again"
            ) from error
        self._model = model.eval()
        self._pooling = found.pooling
        self._max_tokens = _longest_text(found.max_tokens, self._tokenizer.model_max_length, model.config)
        self.dim = int(model.config.hidden_size)
        self.id = f"sentence:{model.config.model_type}:{found.pooling}:{digest(found.weights)}"

    @torch.inference_mode()
    def embed(self, texts: list[str]) -> np.ndarray:
        """`[len(texts), dim]` float32, L2-normalised. Longer texts than the model reads are cut."""
        pooled = [np.zeros((0, self.dim), np.float32)]
        for first in range(0, len(texts), _BATCH):
            batch = self._tokenizer(
                texts[first : first + _BATCH],
                padding=True,
                truncation=True,
                max_length=self._max_tokens,
                return_tensors="pt",
            )
            states = self._model(**batch).last_hidden_state
            pooled.append(_pool(states, batch["attention_mask"], self._pooling).numpy())
        return _normalised(np.concatenate(pooled))


def _longest_text(stated: int | None, tokenizer_limit: int, config: Any) -> int:
    positions = getattr(config, "max_position_embeddings", None) or 512
    # Tokenizers without a limit state 10^30. RoBERTa and its kin number positions from 2 on.
    limit = stated or (tokenizer_limit if tokenizer_limit < 10**6 else positions - 2)
    return min(limit, positions)


def _pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Token states `[B, T, hidden]` to `[B, hidden]`; mask `[B, T]`, 1 where there is a token."""
    if pooling == "cls":
        return states[:, 0]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def _normalised(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
