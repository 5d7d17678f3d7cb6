"""Clips one behind the other, each decoded, and on a GPU encoded, while the one before is captioned."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from rlivs.backbones import Backbone, VisualTokens
from rlivs.decoding.graph import only_device
from rlivs.video import VideoClip


def clips_ahead(
    clips: Iterable[VideoClip], backbone: Backbone
) -> Generator[tuple[VideoClip, VisualTokens | None], None, None]:
    """The clips in order, and their visual tokens where these were made ahead (else None).

    The next clip is taken from `clips` in a thread of its own as soon as one is handed out. On a GPU it is encoded
    there, on a second stream: reading the weights for one token after another leaves the GPU's arithmetic idle. What
    `clips` raises is raised in its place, after the clips before it.
    """
    coming_clips = iter(clips)
    encoder = _Encoder(backbone) if _on_one_gpu(backbone) else None

    def take() -> tuple[VideoClip, VisualTokens | None, Any] | None:
        clip = next(coming_clips, None)
        if clip is None:
            return None
        return (clip, None, None) if encoder is None else (clip, *encoder.encode(clip))

    try:
        with ThreadPoolExecutor(1, "rlivs-ahead") as thread:
            coming = thread.submit(take)
            while (taken := coming.result()) is not None:
                coming = thread.submit(take)
                clip, visual, ready = taken
                if encoder is not None and visual is not None:
                    encoder.hand_over(visual, ready)
                yield clip, visual
    finally:
        if encoder is not None:
            encoder.leave()
        close = getattr(coming_clips, "close", None)
        if close is not None:
            close()


def _on_one_gpu(backbone: Backbone) -> bool:
    device = only_device(backbone.model)
    return device is not None and device.type == "cuda"


class _Encoder:
    """The vision tower on a stream of its own."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._device = backbone.device
        self._stream = torch.cuda.Stream(self._device)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))

    def encode(self, clip: VideoClip) -> tuple[VisualTokens, torch.cuda.Event]:
        """In any thread: a clip's tokens, and when they are there."""
        with torch.cuda.stream(self._stream):
            visual = self._backbone.encode(clip.frames, clip.times)
            ready = torch.cuda.Event()
            ready.record(self._stream)
        return visual, ready

    def hand_over(self, visual: VisualTokens, ready: torch.cuda.Event) -> None:
        """Let the current stream use the tokens, and their memory be taken again only when it has."""
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(ready)
        for tensor in (visual.embeddings, *visual.extras.values()):
            tensor.record_stream(stream)

    def leave(self) -> None:
        """Let the current stream come after this one, on which a clip that nobody took may still read the weights."""
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
