"""What the routes share: the streams, the settings, the figures."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Event
from typing import Any

from fastapi import Request

from rlivs.serving.films import Films
from rlivs.serving.metrics import Metrics
from rlivs.serving.picture_book import PictureBook
from rlivs.serving.refusals import unknown_stream
from rlivs.serving.service import Service
from rlivs.serving.settings import ServeSettings
from rlivs.serving.sources import SourceDoor


@dataclass(frozen=True)
class Served:
    """model: its name for clients; count_tokens: of a text, where the model's tokenizer is at hand; instance: a name
    that no earlier process had, so that clients notice a restart; stopping: set when the server begins to stop."""

    service: Service
    settings: ServeSettings
    door: SourceDoor
    metrics: Metrics
    pictures: PictureBook
    films: Films
    model: str
    count_tokens: Callable[[str], int] | None
    questions: BoundedSemaphore
    listeners: BoundedSemaphore
    pushes: BoundedSemaphore
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    stopping: Event = field(default_factory=Event)

    def status_of(self, stream: str) -> Any:
        """The stream's status. Raises Refusal (404) if there is no such stream."""
        for status in self.service.streams():
            if status.stream == stream:
                return status
        raise unknown_stream(stream)


def served(request: Request) -> Served:
    """The dependency of every route."""
    return request.app.state.served
