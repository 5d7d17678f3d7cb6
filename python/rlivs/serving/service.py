"""What the server needs of the streams behind it; `rlivs.streaming.service.StreamService` has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np

AnswerFrom = Literal["memory", "recent-frames", "auto"]


class Events(Protocol):
    """Events (serial, kind, stream, data) after a serial number."""

    @property
    def ended(self) -> bool: ...

    def get(self, timeout: float | None = 0.0) -> Any: ...


class Service(Protocol):
    """One model, many streams; every method may be called from any thread. Raises InputError for a client's mistake."""

    def create(self, stream: str, *, source: str = "", resume: bool = False) -> Any: ...

    def delete(self, stream: str) -> None: ...

    def attach(self, stream: str, source: Any) -> Any: ...

    def push(self, stream: str, frame: np.ndarray, time: float) -> Any: ...

    def detach(self, stream: str) -> Any: ...

    def ask(
        self,
        stream: str,
        question: str,
        *,
        at: float | None = None,
        answer_from: AnswerFrom = "memory",
        on_text: Callable[[str], None] | None = None,
        timeout: float | None = None,
    ) -> Any: ...

    def subscribe(self, stream: str, after: int = -1) -> Events: ...

    def status(self, stream: str) -> Any: ...

    def streams(self) -> list[Any]: ...

    def latest_frame(self, stream: str) -> Any: ...

    def close(self) -> None: ...
