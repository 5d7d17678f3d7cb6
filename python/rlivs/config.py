"""Every option of the pipeline, typed and validated; defaults are the paper's where it names a value (arXiv 2510.17364,
section 4)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rlivs.errors import InputError

CAPTION_PROMPT = "Describe what's happening in the video."
ANSWER_PROMPT = (
    "These are descriptions of a video, in order of time:\n{captions}\n\nQuestion: {question}\nAnswer briefly."
)


class PipelineConfig(BaseModel):
    """Options of one stream, listed in docs/options.md.

    Raises pydantic's ValidationError, which is a ValueError, for an unknown name or a value that does not fit;
    `make_config` and `load_config` raise InputError in one line instead.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Video
    fps: float = Field(0.5, gt=0, le=240, description="frames sampled per second of video")
    frames_per_clip: int = Field(16, ge=1, le=4096, description="frames in one clip")

    # Caption
    caption_prompt: str = Field(CAPTION_PROMPT, min_length=1, description="what the model is asked of each clip")
    max_caption_tokens: int = Field(1024, ge=1, description="longest caption, in new tokens")
    cut_repetition: bool = Field(False, description="end a caption that loops, and mark it by '…' at its end")

    # Selection (section 3.2)
    layers: Literal["auto", "all"] | tuple[int, ...] = Field(
        "auto", description="decoder layers that score: auto (the paper's depths), all, or numbers from 0 such as 1,2"
    )
    scoring: Literal["deferred", "fused", "rescore"] = Field(
        "deferred", description="deferred: one pass after the caption; fused: in each step; rescore: feed it once more"
    )
    include_last_prompt_row: bool = Field(
        True, description="score the rows that produce the caption's tokens; false: the tokens' own rows"
    )
    keep_fraction: float = Field(0.0625, gt=0, le=1, description="share of a clip's visual tokens kept")
    keep_tokens: int | None = Field(None, ge=1, description="tokens kept a clip, in place of keep_fraction")
    memory_slots: int = Field(16, ge=0, description="clips whose kept tokens precede the next clip; 0: none")

    # Many streams
    captions_at_once: int = Field(
        1, ge=1, le=256, description="streams, or videos, that are captioned side by side, in one batch"
    )

    # Answers (section 3.3)
    embedder: str = Field(
        "llm", min_length=1, description="llm (the model's own), or the folder of a sentence-embedding model"
    )
    answer_prompt: str = Field(ANSWER_PROMPT, description="must contain {captions} and {question}")
    max_answer_tokens: int = Field(256, ge=1, description="longest answer, in new tokens")
    mmr_lambda: float = Field(0.5, ge=0, le=1, description="choice of captions: 1 is relevance alone, 0 novelty alone")
    context_budget: int = Field(10_000, ge=1, description="tokens of captions in an answer's prompt")
    clock: bool = Field(False, description="tell a live stream's moments by the wall clock (new streams)")

    @field_validator("layers", mode="before")
    @classmethod
    def _layers_of_text(cls, value: Any) -> Any:
        """`3` and `1,2`, as a command line has them, are lists, too."""
        if isinstance(value, int) and not isinstance(value, bool):
            return (value,)
        if isinstance(value, str) and re.fullmatch(r"\s*\d+(\s*,\s*\d+)*\s*", value):
            return tuple(int(part) for part in value.split(","))
        return value

    def model_post_init(self, _context: Any) -> None:
        for field in ("{captions}", "{question}"):
            if field not in self.answer_prompt:
                raise ValueError(f"answer_prompt must contain {field}")
        try:
            filled = self.answer_prompt.format(captions="\0", question="\1")
        except (LookupError, ValueError, AttributeError):
            filled = ""
        if "\0" not in filled or "\1" not in filled:
            raise ValueError("answer_prompt has other braces than {captions} and {question}; write those as {{ and }}")

    def tokens_to_keep(self, num_columns: int) -> int:
        """How many of a clip's `num_columns` visual tokens are kept: at least one, at most all."""
        if self.keep_tokens is not None:
            return min(self.keep_tokens, num_columns)
        return max(1, round(self.keep_fraction * num_columns))


def make_config(options: dict[str, Any]) -> PipelineConfig:
    """A validated config from plain values. Raises InputError naming the option and what it may be."""
    try:
        return PipelineConfig(**options)
    except ValidationError as error:
        raise InputError(_one_line(error)) from None


def load_config(path: str | Path | None, overrides: dict[str, Any] | None = None) -> PipelineConfig:
    """Options from a YAML file, then `overrides` (None values are ignored). Raises InputError."""
    options: dict[str, Any] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(
                f"cannot read the config file {path}: {error.strerror}; give an existing YAML file"
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise InputError(f"{path} is not valid YAML; write one `option: value` a line") from None
        if loaded is not None and not isinstance(loaded, dict):
            raise InputError(f"{path} must hold `option: value` lines at its top level")
        options.update(loaded or {})
    options.update({name: value for name, value in (overrides or {}).items() if value is not None})
    return make_config(options)


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][:1]) or "config"
    if first["type"] == "extra_forbidden":
        known = ", ".join(PipelineConfig.model_fields)
        return f"unknown option '{name}'; the options are: {known}"
    if name == "config":  # of all options together: the message names its own
        return first["msg"].removeprefix("Value error, ")
    return f"option '{name}' is {first.get('input')!r}: {first['msg'].lower()}"
