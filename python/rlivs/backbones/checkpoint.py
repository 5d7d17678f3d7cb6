"""The files of a checkpoint, in a directory here or on the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlivs.errors import InputError

EMBEDDED = "tiny-onevision"
PROCESSOR_FILES = ("video_preprocessor_config.json", "processor_config.json", "preprocessor_config.json")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model")
# Options of `from_pretrained` that say where files come from.
HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only")


def embedded_checkpoint() -> Path:
    """The directory of the small checkpoint that ships with the package."""
    return Path(__file__).resolve().parents[1] / "assets" / EMBEDDED


class CheckpointFiles:
    """Reads the small files of one checkpoint; `name` is a directory, a hub name, or `tiny-onevision`.

    Raises InputError for a directory that does not exist or lacks files, naming them.
    """

    def __init__(self, name: str | Path, **hub_options: Any) -> None:
        self.name = str(embedded_checkpoint() if str(name) == EMBEDDED else name)
        self.hub_options = hub_options
        self._hub_error: BaseException | None = None  # what the hub said to the last file that is not here
        path = Path(self.name).expanduser()
        if path.is_dir():
            self.name = str(path)
            _require_complete(path)
        elif path.exists():
            raise InputError(f"{name} is a file; give the directory of a Hugging Face checkpoint")
        elif self.name.startswith((".", "/", "~")):
            raise InputError(f"no model directory {name}; give an existing one, a hub name, or '{EMBEDDED}'")

    @property
    def short_name(self) -> str:
        """The directory's own name, or the hub name."""
        return Path(self.name).resolve().name if Path(self.name).is_dir() else self.name

    def model_type(self) -> str:
        """The model type in config.json. Raises InputError when there is none to read."""
        config = self.json("config.json")
        if config is None:
            raise InputError(self._missing())
        model_type = config.get("model_type")
        if not isinstance(model_type, str):
            raise InputError(f"config.json of the model {self.name} names no model_type; it is no video language model")
        return model_type

    def pixel_settings(self) -> dict[str, Any]:
        """How videos are preprocessed, under the name any version of transformers gave it."""
        for filename in PROCESSOR_FILES:
            settings = self.json(filename) or {}
            settings = settings.get("video_processor", settings)
            # pixels, or how much of frames of any shape
            sized = any(name in settings for name in ("size", "max_soft_tokens", "scale_resolution"))
            if "image_mean" in settings and "image_std" in settings and sized:
                return settings
        raise InputError(
            f"the model {self.name} has no preprocessor_config.json with size, image_mean and image_std; "
            "copy the whole checkpoint"
        )

    def chat_template(self, tokenizer: Any) -> str:
        """The processor's template if the checkpoint has one (it knows about video), else the tokenizer's own."""
        template = self.text("chat_template.jinja")
        if template is None:
            template = (self.json("chat_template.json") or {}).get("chat_template")
        if template is None:
            template = tokenizer.chat_template
        if isinstance(template, dict):
            template = template.get("default")
        if not isinstance(template, str):
            raise InputError(f"the model {self.name} has no chat template; add its chat_template.jinja")
        return template

    def json(self, filename: str) -> dict[str, Any] | None:
        """The object in a JSON file, None if there is no such file."""
        text = self.text(filename)
        return None if text is None else _parse(text, filename, self.name)

    def text(self, filename: str) -> str | None:
        """The text of a file, None if there is no such file."""
        path = self._find(filename)
        return None if path is None else _read(path, self.name)

    def _find(self, filename: str) -> Path | None:
        if Path(self.name).is_dir():
            path = Path(self.name) / filename
            return path if path.is_file() else None
        from transformers.utils import cached_file

        try:
            found = cached_file(self.name, filename, **self.hub_options)
        except (OSError, ValueError) as error:
            self._hub_error = error.__cause__
            return None
        return Path(found) if found else None

    def _missing(self) -> str:
        """Why there is no such model."""
        from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

        if isinstance(self._hub_error, GatedRepoError):
            return f"the model '{self.name}' is gated: accept its terms on the hub, then log in (hf auth login)"
        if isinstance(self._hub_error, LocalEntryNotFoundError):
            return (
                f"the model '{self.name}' is not in the local cache, and the hub cannot be reached; check the network, "
                f"or give a checkpoint directory or '{EMBEDDED}'"
            )
        return f"no model '{self.name}' here or on the hub; give a checkpoint directory, a hub name, or '{EMBEDDED}'"


def _require_complete(directory: Path) -> None:
    missing = [name for name in ("config.json", "tokenizer_config.json") if not (directory / name).is_file()]
    if not any((directory / name).is_file() for name in TOKENIZER_FILES):
        missing.append("tokenizer.json")
    if not any((directory / name).is_file() for name in PROCESSOR_FILES):
        missing.append("preprocessor_config.json")
    missing += _missing_weights(directory)
    if missing:
        raise InputError(
            f"the model directory {directory} is incomplete: no {', '.join(missing)}; copy the whole checkpoint"
        )


def _missing_weights(directory: Path) -> list[str]:
    for name in WEIGHT_FILES:
        index = directory / f"{name}.index.json"
        if (directory / name).is_file():
            return []
        if index.is_file():
            shards = _parse(_read(index, str(directory)), index.name, str(directory)).get("weight_map", {})
            return sorted(shard for shard in set(shards.values()) if not (directory / shard).is_file())
    sharded = any(directory.glob("model-*-of-*.safetensors"))
    return ["model.safetensors.index.json" if sharded else "model.safetensors"]


def _read(path: Path, model: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"cannot read {path.name} of the model {model}; fetch the checkpoint again") from None


def _parse(text: str, filename: str, model: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        raise InputError(f"{filename} of the model {model} is not valid JSON; fetch the checkpoint again")
    return parsed
