"""Times of live frames: by their timestamps where these make sense, else by when they came."""

from __future__ import annotations

# Timestamps may run ahead of the clock by this many seconds from one frame to the next (a playlist's segment comes
# at once); beyond it, and backwards, they have started anew.
LONGEST_LEAP = 10.0


class LiveClock:
    """Stream times, never decreasing, in seconds since the first frame.

    A connection's first frame is placed by the clock of arrivals, the others by their timestamps' distance to the one
    before; by arrival again where a frame has no timestamp or timestamps leap.
    """

    def __init__(self) -> None:
        self._first_arrival: float | None = None
        self._arrival = 0.0
        self._stamp: float | None = None
        self.time = 0.0

    def connect(self) -> None:
        """A new connection: its timestamps have nothing to do with the last one's."""
        self._stamp = None

    def elapsed(self, arrival: float) -> float:
        """The clock of arrivals: seconds since the first frame came."""
        return 0.0 if self._first_arrival is None else arrival - self._first_arrival

    def time_of(self, stamp: float | None, arrival: float) -> float:
        """The stream time of a frame with this timestamp (seconds, any origin) that came at `arrival` (monotonic)."""
        if self._first_arrival is None:
            self._first_arrival = arrival
        elif stamp is None or self._stamp is None or not self._continues(stamp, arrival):
            # Where timestamps had run ahead of the clock, time stands still until it has caught up.
            self.time = max(self.time, self.elapsed(arrival))
        else:
            self.time += stamp - self._stamp
        self._stamp, self._arrival = stamp, arrival
        return self.time

    def _continues(self, stamp: float, arrival: float) -> bool:
        assert self._stamp is not None
        return 0 <= stamp - self._stamp <= arrival - self._arrival + LONGEST_LEAP
