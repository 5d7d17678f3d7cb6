"""Times of live frames: by their timestamps where these make sense, else by when they came."""

from __future__ import annotations

# Timestamps may run ahead of the clock by this many seconds from one frame to the next (a playlist's segment comes
# at once); beyond it, and backwards, they have started anew.
LONGEST_LEAP = 10.0

# Seconds over which the least delay is taken: three of the longest bursts, so that one that is late changes nothing.
DELAY_WINDOW = 3 * LONGEST_LEAP

# Seconds by which the least delay may change before a stream's time is set right: more than a network's delay varies by
# for a whole window, little for a time of day.
LARGEST_DRIFT = 3.0


class LiveClock:
    """Stream times, never decreasing, in seconds since the first frame.

    A connection's first frame is placed by the clock of arrivals, the others by their timestamps' distance to the one
    before; by arrival again where a frame has no timestamp or timestamps leap. Where timestamps run slower or faster
    than the clock, time is moved, or stands still, by what they have parted.
    """

    def __init__(self) -> None:
        self._first_arrival: float | None = None
        self._arrival = 0.0
        self._stamp: float | None = None
        self._placed = 0.0  # the newest frame's time by its timestamp; `time` waits where this is the earlier
        self.time = 0.0
        self._begin_delays(0.0)

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
            self._begin_delays(arrival)
        elif stamp is None or self._stamp is None or not self._continues(stamp, arrival):
            # Where timestamps had run ahead of the clock, time stands still until it has caught up.
            self._placed = max(self.time, self.elapsed(arrival))
            self._begin_delays(arrival)
        else:
            self._placed += stamp - self._stamp
            self._placed += self._drift(arrival)
        self.time = max(self.time, self._placed)
        self._stamp, self._arrival = stamp, arrival
        return self.time

    def _continues(self, stamp: float, arrival: float) -> bool:
        assert self._stamp is not None
        return 0 <= stamp - self._stamp <= arrival - self._arrival + LONGEST_LEAP

    def _begin_delays(self, arrival: float) -> None:
        """A frame was placed by its arrival: what the least delay of its timestamps is shows from here on."""
        self._usual_delay: float | None = None
        self._window_began, self._least_delay = arrival, self.elapsed(arrival) - self._placed

    def _drift(self, arrival: float) -> float:
        """Seconds by which timestamps have fallen behind the clock of arrivals (or, below 0, run ahead); 0 if few.

        Single frames come late, and those of a burst early. So a window's least delay is held against the first one's.
        """
        delay = self.elapsed(arrival) - self._placed
        self._least_delay = min(self._least_delay, delay)
        if arrival - self._window_began < DELAY_WINDOW:
            return 0.0
        least, self._window_began, self._least_delay = self._least_delay, arrival, delay
        if self._usual_delay is None:
            self._usual_delay = least
        drift = least - self._usual_delay
        if abs(drift) <= LARGEST_DRIFT:
            return 0.0
        self._least_delay -= drift
        return drift
