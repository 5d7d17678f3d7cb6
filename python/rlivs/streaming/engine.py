"""The model, loaded once and tapped, and the streams it serves."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any

import torch

from rlivs.backbones import Backbone, load_backbone
from rlivs.clock import YEARS
from rlivs.config import PipelineConfig
from rlivs.decoding import side_by_side_refusal
from rlivs.errors import InputError
from rlivs.memory.embedders import Embedder, LanguageModelEmbedder, SentenceEmbedder
from rlivs.memory.store import CaptionStore, StreamInfo
from rlivs.scoring import patch
from rlivs.streaming.session import Session

# Options that decide what a caption says: a stream is only ever continued under the same ones.
CAPTION_OPTIONS = (
    "fps", "frames_per_clip", "caption_prompt", "max_caption_tokens", "layers", "include_last_prompt_row",
    "keep_fraction", "keep_tokens", "memory_slots",
)  # fmt: skip


class StreamingVideoQA:
    """Streaming video question answering with recurrent attention-based token selection (arXiv 2510.17364).

    engine = StreamingVideoQA.from_pretrained("llava-hf/llava-onevision-qwen2-7b-ov-hf", memory="captions.db")
    session = engine.open("camera-1")
    for clip in session.watch("video.mp4"):
        print(clip.start, clip.end, clip.caption)
    print(session.ask("What happened after the red car left?").text)
    """

    def __init__(self, backbone: Backbone, store: CaptionStore, config: PipelineConfig | None = None) -> None:
        """Tap `backbone` for scoring and keep captions in `store`. Raises InputError for options it cannot serve."""
        self.backbone = backbone
        self.store = store
        self.config = config or PipelineConfig()
        self._check_options()
        self.embedder = make_embedder(self.config.embedder, backbone)
        self._tap = patch(backbone.model, layers=self.config.layers, mode=self.config.scoring)
        self._turn = RLock()

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        memory: str | Path = ":memory:",
        config: PipelineConfig | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> StreamingVideoQA:
        """Load a checkpoint (directory, hub name, or `tiny-onevision`) and open or create the caption memory.

        memory: an SQLite file; `:memory:` is lost with the process. config: default `PipelineConfig()`. device: default
        the first GPU, else the CPU. dtype: default the checkpoint's own, float32 on a CPU. `options` go to the model's
        `from_pretrained` (device_map, attn_implementation, ...). Close the engine, or use it in `with`.
        Source: arXiv 2510.17364, section 3. Raises InputError for an unknown family, an incomplete checkpoint, or a
        file that is no caption memory.
        """
        backbone = load_backbone(model, device=device, dtype=dtype, **options)
        return cls(backbone, CaptionStore.open(memory), config)

    def open(self, name: str, *, source: str = "", resume: bool = False, starts_at: datetime | None = None) -> Session:
        """A session for the stream `name`, new or, with `resume`, continued where it stopped.

        `source` says what is watched (a path, an address), for whoever reads the memory later. With `starts_at`, when
        second 0 was (local time, if it has no zone), questions, answers and captions go by the wall clock. Raises
        InputError when a new stream exists already, or one to resume was made from another source, with other options
        or with another start.
        """
        settings, epoch = self._settings(), None if starts_at is None else _unix_time(starts_at)
        known = {info.stream: info for info in self.store.streams()}
        if name not in known or not resume:
            by_clock = {"clock": True} if self.config.clock or epoch is not None else {}
            self.store.create_stream(name, source=source, settings=settings | by_clock, epoch=epoch)
        else:
            self._check_embedder(known[name])
            _check_same(name, known[name].source, source, known[name].settings, settings)
            self._check_clock(known[name], epoch)
        return self._session(name)

    def recall(self, name: str) -> Session:
        """A session on an existing stream, to ask about it.

        Raises InputError for an unknown stream, and for one whose captions another embedder embedded.
        """
        self._check_embedder(self.store.stream(name))
        return self._session(name)

    def close(self) -> None:
        """Take the tap off the model and close the memory."""
        self._tap.remove()
        self.store.close()

    def __enter__(self) -> StreamingVideoQA:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _session(self, name: str) -> Session:
        return Session(name, self.backbone, self._tap, self.embedder, self.store, self.config, self._turn)

    def _settings(self) -> dict[str, Any]:
        options = self.config.model_dump(mode="json", include=set(CAPTION_OPTIONS))
        return {"model": self.backbone.name, **options}

    def _check_clock(self, info: StreamInfo, asked: float | None) -> None:
        """How a stream's moments are told stays as it was; raise InputError where that is not what is asked for."""
        epoch, name = self.store.epoch(info.stream), info.stream
        if not info.settings.get("clock") and (asked is not None or (self.config.clock and epoch is not None)):
            raise InputError(
                f"stream '{name}' counts its moments from second 0; resume it without a clock, or choose another name"
            )
        if asked is not None and epoch is None:
            self.store.set_epoch(name, asked)
        elif asked not in (None, epoch):
            begun = self.store.clock(name).tell(0)
            raise InputError(f"stream '{name}' starts at {begun}; resume it without another start")

    def _check_embedder(self, info: StreamInfo) -> None:
        if info.embedder_id not in (None, self.embedder.id):
            raise InputError(
                f"stream '{info.stream}' was captioned by the model {info.settings.get('model')} and embedded by "
                f"{info.embedder_id}, not by {self.embedder.id}; give the model and the embedder it was made with"
            )

    def _check_options(self) -> None:
        columns = self.config.frames_per_clip * self.backbone.tokens_per_frame
        keep = self.config.keep_tokens
        if keep is not None and keep > columns:
            raise InputError(
                f"keep_tokens is {keep}, but a clip has only {columns} visual tokens; keep at most {columns}"
            )
        if self.config.captions_at_once > 1:
            refusal = side_by_side_refusal(self.backbone.model)
            if self.config.scoring == "rescore":
                refusal = "scoring is 'rescore', which feeds one caption again"
            if refusal is not None:
                raise InputError(f"captions cannot be made at once: {refusal}; set captions_at_once to 1")


def _unix_time(starts_at: datetime) -> float:
    try:
        if not isinstance(starts_at, datetime) or starts_at.year not in YEARS:
            raise ValueError
        return starts_at.timestamp()
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"starts_at is {starts_at!r}; give a datetime of the years {YEARS[0]} to {YEARS[-1]}"
        ) from None


def make_embedder(name: str, backbone: Backbone) -> Embedder:
    """`llm`: the language model's own input embeddings (the paper's choice); else a sentence-embedding directory."""
    if name == "llm":
        return LanguageModelEmbedder(backbone.model, backbone.tokenizer)
    return SentenceEmbedder(name)


def _check_same(
    name: str, old_source: str, source: str, old_settings: dict[str, Any], settings: dict[str, Any]
) -> None:
    if source and old_source and source != old_source:
        raise InputError(
            f"stream '{name}' was made from {old_source}, not {source}; resume with that source, or choose another name"
        )
    for option, value in settings.items():
        if old_settings.get(option) != value:
            raise InputError(
                f"stream '{name}' was made with {option} = {old_settings.get(option)!r}, not {value!r}; "
                "give the same option, or choose another name or another memory"
            )
