"""What a directory with a sentence-embedding model holds: which files, which pooling."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlivs.errors import InputError

# Each line: files of which one is enough.
_NEEDED = (
    ("config.json",),
    ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
    ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"),
)


@dataclass(frozen=True)
class SentenceDirectory:
    """transformer: the directory of the transformers model; weights: its weight files, in order of name;
    pooling: "mean" or "cls"; max_tokens: the longest text the authors intend, None where they do not say."""

    transformer: Path
    weights: tuple[Path, ...]
    pooling: str
    max_tokens: int | None


def read_sentence_directory(root: Path) -> SentenceDirectory:
    """Read a transformers directory, or one of sentence-transformers (modules.json names the parts).

    Raises InputError for missing files, naming them, and for parts other than a transformer, mean or cls pooling and
    a normalisation.
    """
    if not root.is_dir():
        raise InputError(f"there is no sentence-embedding directory {root}; give a directory with a model in it")
    parts = {kind: root / path for kind, path in _modules(root)}
    unknown = sorted(set(parts) - {"Transformer", "Pooling", "Normalize"})
    if unknown:
        raise InputError(
            f"{root} has a {unknown[0]} module; give a model of transformer, pooling and normalisation only"
        )
    transformer = parts.get("Transformer", root)
    stated = _read_json(transformer / "sentence_bert_config.json").get("max_seq_length")
    return SentenceDirectory(
        transformer=transformer,
        weights=_weights(transformer),
        pooling=_pooling(parts["Pooling"]) if "Pooling" in parts else "mean",
        max_tokens=stated,
    )


def digest(files: Sequence[Path]) -> str:
    """SHA-256 of the files' bytes, one after the other: 16 hexadecimal digits."""
    running = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                running.update(block)
    return running.hexdigest()[:16]


def _modules(root: Path) -> list[tuple[str, str]]:
    """(kind, path) of each module; the kind is the last word of a type such as sentence_transformers.models.Pooling."""
    listed = _read_json(root / "modules.json") or []
    return [(module["type"].rsplit(".", 1)[-1], module["path"]) for module in listed]


def _pooling(directory: Path) -> str:
    config = _read_json(directory / "config.json")
    modes = [
        name.removeprefix("pooling_mode_") for name, on in config.items() if name.startswith("pooling_mode_") and on
    ]
    named = {"mean_tokens": "mean", "cls_token": "cls"}
    if len(modes) != 1 or modes[0] not in named:
        raise InputError(f"{directory} asks for pooling by {modes or 'nothing'}; give a model with mean or cls pooling")
    return named[modes[0]]


def _weights(directory: Path) -> tuple[Path, ...]:
    missing = [each[0] for each in _NEEDED if not any((directory / name).is_file() for name in each)]
    if missing:
        raise InputError(f"{directory} lacks {', '.join(missing)}; get the whole sentence-embedding model")
    index = directory / "model.safetensors.index.json"
    if (directory / "model.safetensors").is_file() or not index.is_file():
        single = "model.safetensors" if (directory / "model.safetensors").is_file() else "pytorch_model.bin"
        return (directory / single,)
    shards = sorted(set(_read_json(index)["weight_map"].values()))
    missing = [name for name in shards if not (directory / name).is_file()]
    if missing:
        raise InputError(f"{directory} lacks {', '.join(missing)}; get the whole sentence-embedding model")
    return tuple(directory / name for name in shards)


def _read_json(path: Path) -> Any:
    """The file's content; {} where there is no such file."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON; get the sentence-embedding model again") from error
