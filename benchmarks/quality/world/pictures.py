"""A stream's frames and its things' masks, at any time and size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .render import RGB, SIGNED_DISTANCE, background
from .scenes import EXTENT
from .script import Shot, Stream

CELLS = 4


def _window(x: float, y: float, half: float, size: int) -> tuple[slice, slice, np.ndarray, np.ndarray] | None:
    """Rows and columns within `half` of a point, and their pixels' offsets from it; None outside the picture."""
    left, right = max(0, int(x - half)), min(size, int(x + half) + 2)
    top, bottom = max(0, int(y - half)), min(size, int(y + half) + 2)
    if left >= right or top >= bottom:
        return None
    across = (np.arange(left, right, dtype=np.float32) + np.float32(0.5 - x))[None, :]
    down = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - y))[:, None]
    return slice(top, bottom), slice(left, right), across, down


def _box_cover(shot: Shot, size: int) -> tuple[slice, slice, np.ndarray] | None:
    if shot.box is None:
        return None
    box = shot.box
    window = _window(box.x * size, box.y * size, max(box.half_width, box.half_height) * size + 2, size)
    assert window is not None
    rows, columns, x, y = window
    inside = np.minimum(box.half_width * size - np.abs(x), box.half_height * size - np.abs(y))
    return rows, columns, np.clip(inside + 0.5, 0, 1)


def _ground(shot: Shot, size: int) -> np.ndarray:
    return background(shot.style, size)


def _draw(shot: Shot, ground: np.ndarray, time: float, size: int) -> np.ndarray:
    """The picture `[size, size, 3]` at a time of the stream, float32 in 0..1, without the camera's noise."""
    canvas = ground.copy()
    since = time - shot.start
    for speck in shot.specks:
        x, y = ((p + d * since) % 1.0 * size for p, d in zip((speck.x, speck.y), speck.drift, strict=True))
        window = _window(x, y, 0.05 * size, size)
        if window is None:
            continue
        rows, columns, across, down = window
        width, height = speck.half_width * size, speck.half_height * size
        if speck.round:
            inside = (1 - np.hypot(across / width, down / height)) * min(width, height)
        else:
            inside = np.minimum(width - np.abs(across), height - np.abs(down))
        cover = np.clip(inside + 0.5, 0, 1)[..., None]
        canvas[rows, columns] += cover * (np.asarray(speck.grey, np.float32) - canvas[rows, columns])
    for actor in shot.actors:
        x, y = actor.centres(np.array([since]))[0] * size
        radius = np.float32(actor.radius * size)
        window = _window(x, y, (EXTENT + 0.35) * radius, size)
        if window is None:
            continue
        rows, columns, across, down = window
        distance = SIGNED_DISTANCE[actor.shape]
        low = distance((across - 0.02 * size) / radius, (down - 0.03 * size) / radius) * radius
        canvas[rows, columns] *= (1 - 0.25 * np.clip(0.5 - low / (0.02 * size), 0, 1))[..., None]
        signed = distance(across / radius, down / radius) * radius
        rim = np.clip((signed + 0.012 * size) / (0.012 * size), 0, 1)
        light = (1.06 - 0.09 * (across + down) / radius - 0.22 * rim * rim)[..., None]
        paint = np.clip(light * np.asarray(RGB[actor.colour], np.float32), 0, 1)
        cover = np.clip(0.5 - signed, 0, 1)[..., None]
        canvas[rows, columns] += cover * (paint - canvas[rows, columns])
    box = _box_cover(shot, size)
    if box is not None and shot.box is not None:
        rows, columns, cover = box
        part = canvas[rows, columns]
        part += cover[..., None] * (np.asarray(shot.box.grey, np.float32) - part)
    return canvas


def frames(stream: Stream, times: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Frames `[size, size, 3]` uint8 RGB at times `[n]`, with the camera's flicker and noise.

    The noise of a frame follows from the stream's seed and the frame's time alone.
    """
    known, ground = -1, np.empty(0)
    for time in times:
        index = stream.shot_at(time)
        if index != known:
            known, ground = index, _ground(stream.shots[index], size)
        rng = np.random.default_rng((*stream.seed, 7, round(time * 1000)))
        picture = _draw(stream.shots[index], ground, time, size) * np.float32(255 * rng.uniform(0.97, 1.03))
        picture += np.float32(stream.level) * rng.standard_normal(picture.shape, dtype=np.float32)
        yield np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def masks(stream: Stream, time: float, size: int) -> dict[str, np.ndarray]:
    """Visible pixels of each thing on screen, by name, bool `[size, size]`."""
    shot = stream.shots[stream.shot_at(time)]
    found = {}
    for actor in shot.actors:
        mask = np.zeros((size, size), bool)
        x, y = actor.centres(np.array([time - shot.start]))[0] * size
        radius = actor.radius * size
        window = _window(x, y, (EXTENT + 0.1) * radius, size)
        if window is not None:
            rows, columns, across, down = window
            mask[rows, columns] = SIGNED_DISTANCE[actor.shape](across / radius, down / radius) < 0
        box = _box_cover(shot, size)
        if box is not None:
            rows, columns, cover = box
            mask[rows, columns] &= cover < 0.5
        found[actor.name] = mask
    return found


def cell_shares(stream: Stream, times: np.ndarray, names: tuple[str, ...] | None = None) -> np.ndarray:
    """Share of each of a frame's 16 cells that things cover, `[n, 16]` float32; of these `names` only, if given."""
    size = 8 * CELLS
    found = np.zeros((len(times), CELLS * CELLS), np.float32)
    for row, time in enumerate(times):
        for name, mask in masks(stream, time, size).items():
            if names is None or name in names:
                found[row] += mask.reshape(CELLS, 8, CELLS, 8).mean(axis=(1, 3)).reshape(-1)
    return found
