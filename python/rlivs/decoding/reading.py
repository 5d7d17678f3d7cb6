"""Reading chosen tokens off the device without making it wait."""

from __future__ import annotations

from collections import deque

import torch

# Steps that may be under way on a GPU before the oldest token is waited for: it is never idle, and at most this
# many steps are run beyond the end of a text.
RUN_AHEAD = 2


class TokenReader:
    """Token ids `[B, 1]` go in as they are chosen and come out as lists of ints, in order, on a GPU a bit later."""

    def __init__(self, capacity: int, batch: int, device: torch.device) -> None:
        self._at_once = device.type != "cuda"
        if not self._at_once:
            self._arrived: deque[torch.cuda.Event] = deque()
            self._ids = torch.empty(capacity, batch, dtype=torch.long, pin_memory=True)
            self._sent = 0

    def put(self, token: torch.Tensor) -> list[list[int]]:
        """Take one step's tokens over; returns those of the steps that have arrived."""
        if self._at_once:
            return [token[:, 0].tolist()]
        self._ids[self._sent].copy_(token[:, 0], non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(token.device))
        self._arrived.append(event)
        self._sent += 1
        return self._take(RUN_AHEAD)

    def rest(self) -> list[list[int]]:
        """Wait for the tokens that are under way."""
        return [] if self._at_once else self._take(0)

    def _take(self, leave: int) -> list[list[int]]:
        taken = []
        while len(self._arrived) > leave or (self._arrived and self._arrived[0].query()):
            self._arrived.popleft().synchronize()
            taken.append(self._ids[self._sent - len(self._arrived) - 1].tolist())
        return taken
