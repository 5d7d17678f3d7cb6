"""Moments of a stream as people write them."""

from __future__ import annotations

from rlivs.errors import InputError


def format_time(seconds: float) -> str:
    """`m:ss`, from one hour on `h:mm:ss`; whole seconds, rounded down."""
    # The small term keeps 7.9999999, which a sampling rate of 1/3 makes of 8, from reading as 7.
    whole = int(seconds + 1e-6)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def parse_time(text: str) -> float:
    """Seconds from `75`, `1:15` or `1:01:15`. Raises InputError for anything else."""
    parts = text.strip().split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    # Minutes of an hour and seconds of a minute end at 60; NaN is within no bounds.
    proper = all(0 <= value < (60 if place else float("inf")) for place, value in enumerate(values))
    if not 1 <= len(values) <= 3 or not proper:
        raise InputError(f"'{text}' is no time; write seconds or m:ss or h:mm:ss")
    seconds = 0.0
    for value in values:
        seconds = seconds * 60 + value
    return seconds
