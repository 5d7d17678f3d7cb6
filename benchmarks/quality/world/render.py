"""Scenes as pictures: anti-aliased shapes with soft shadows, by signed distances."""

from __future__ import annotations

import numpy as np

from .scenes import EXTENT, Scene, Style

RGB = {
    "red": (0.85, 0.13, 0.15),
    "orange": (0.97, 0.52, 0.08),
    "yellow": (0.98, 0.87, 0.16),
    "green": (0.15, 0.63, 0.27),
    "blue": (0.14, 0.34, 0.86),
    "purple": (0.56, 0.20, 0.72),
}
SHADOW_SHIFT = (0.020, 0.030)
SHADOW_BLUR = 0.030
SHADOW_DEPTH = 0.30


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y) - 1.0


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) - 0.85


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(0.866 * np.abs(x) - 0.5 * (y - 0.15), y - 0.15) - 0.62


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Five points: fold the plane into one tenth, then the distance to the edge from tip to notch."""
    sector = 2 * np.pi / 5
    angle = np.arctan2(x, -y)
    angle = np.abs(np.mod(angle + sector / 2, sector) - sector / 2)
    length = np.sqrt(x * x + y * y)
    u, v = length * np.cos(angle), length * np.sin(angle)
    tip, notch = 1.2, 0.52
    nx, ny = notch * np.cos(sector / 2), notch * np.sin(sector / 2)
    ex, ey = nx - tip, ny
    norm = np.hypot(ex, ey)
    return ((u - tip) * ey - v * ex) / norm


SIGNED_DISTANCE = {"circle": _circle, "square": _square, "triangle": _triangle, "star": _star}


def background(style: Style, size: int) -> np.ndarray:
    """The empty picture `[size, size, 3]`, float32 in 0..1."""
    axis = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x, y = axis[None, :], axis[:, None]
    along = 0.5 + (x - 0.5) * np.float32(np.cos(style.angle)) + (y - 0.5) * np.float32(np.sin(style.angle))
    near, far = np.asarray(style.near, np.float32), np.asarray(style.far, np.float32)
    picture = near + (far - near) * along[..., None]
    for fx, fy, phase, amplitude in style.waves:
        wave = np.float32(amplitude) * np.sin(np.float32(2 * np.pi) * (fx * x + fy * y) + np.float32(phase))
        picture += wave[..., None].astype(np.float32)
    if style.frame:
        edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
        inside = np.clip((edge - style.frame) * size + 0.5, 0, 1)[..., None]
        picture = picture * inside + (0.35 * picture + 0.65) * (1 - inside)
    return picture


def render(scene: Scene, size: int, progress: np.ndarray) -> np.ndarray:
    """Frames `[frames, size, size, 3]` uint8 RGB at the given progress `[frames]` in 0..1."""
    frames = len(progress)
    pad = int(np.ceil(0.12 * size)) + 2
    empty = np.pad(background(scene.style, size), ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    canvas = np.repeat(empty[None], frames, axis=0)
    centres = scene.centres(np.asarray(progress, np.float64)) * size
    paints = []
    for index, thing in enumerate(scene.things):
        radius = scene.radii[index] * size
        box = int(np.ceil(2 * (EXTENT * radius + 0.06 * size))) + 2
        corner = np.floor(centres[:, index] - box / 2).astype(int)  # [frames, 2]
        offset = (corner + 0.5 - centres[:, index]).astype(np.float32)
        steps = np.arange(box, dtype=np.float32)
        x = (offset[:, 0, None] + steps)[:, None, :]
        y = (offset[:, 1, None] + steps)[:, :, None]
        distance = SIGNED_DISTANCE[thing.shape]
        shift_x, shift_y = (np.float32(s * size) for s in SHADOW_SHIFT)
        low = distance((x - shift_x) / radius, (y - shift_y) / radius) * radius
        shade = 1 - SHADOW_DEPTH / (1 + np.exp(np.clip(low / (0.35 * SHADOW_BLUR * size), -20, 20)))
        signed = distance(x / radius, y / radius) * radius
        cover = np.clip(0.5 - signed, 0, 1)[..., None]
        rim = np.clip((signed + 0.012 * size) / (0.012 * size), 0, 1)
        light = 1.06 - 0.09 * (x + y) / radius - 0.22 * rim * rim
        paint = np.clip(light[..., None] * np.asarray(RGB[thing.colour], np.float32), 0, 1)
        paints.append((corner + pad, box, shade[..., None], cover, paint))
    for corner, box, shade, _, _ in paints:
        for frame, (cx, cy) in enumerate(corner):
            canvas[frame, cy : cy + box, cx : cx + box] *= shade[frame]
    for corner, box, _, cover, paint in paints:
        for frame, (cx, cy) in enumerate(corner):
            part = canvas[frame, cy : cy + box, cx : cx + box]
            part += cover[frame] * (paint[frame] - part)
    picture = canvas[:, pad : pad + size, pad : pad + size]
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def covered_cells(scene: Scene, progress: np.ndarray, cells: int = 4, points: int = 4) -> np.ndarray:
    """Share of every cell that each thing covers, `[frames, things, cells, cells]` float32.

    The thing is taken as a disc of 0.9 radii; the share is the mean over points x points samples.
    """
    axis = (np.arange(cells * points) + 0.5) / (cells * points)
    centres = scene.centres(np.asarray(progress, np.float64))[..., None, None, :]
    gap = np.hypot(axis[None, None, None, :] - centres[..., 0], axis[None, None, :, None] - centres[..., 1])
    inside = gap < 0.9 * scene.radii[None, :, None, None]
    shape = (*inside.shape[:2], cells, points, cells, points)
    return inside.reshape(shape).mean(axis=(3, 5)).astype(np.float32)
