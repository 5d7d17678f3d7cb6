"""A clip's scores as one picture: a contact sheet of its frames."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rlivs.clock import COUNTED, Clock
from rlivs.errors import InputError
from rlivs.reports.cells import outline, selected_cells
from rlivs.reports.colours import OUTLINE, colour_map, heat_layer, normalise_scores, score_range, score_text
from rlivs.reports.data import check_columns, check_frames
from rlivs.reports.labels import frame_labels

SMALLEST_TILE, LARGEST_TILE = 192, 320  # pixels of a frame's longer side on the sheet
MARGIN, GAP, LABEL, LEGEND = 24, 12, 26, 46
GREY = 0.65  # brightness left to the frame under the heat; the page does the same
PAPER, INK, MUTED = (255, 255, 255), (23, 27, 36), (96, 104, 120)


def heatmap_image(
    frames: np.ndarray,
    scores: np.ndarray | None,
    selected: Sequence[int],
    grid: tuple[int, int],
    *,
    times: Sequence[float] | None = None,
    title: str | None = None,
    clock: Clock = COUNTED,
) -> Image.Image:
    """Contact sheet of `frames` under their scores, selected tokens outlined, with times and a colour bar.

    frames `[n, H, W, 3]` uint8; scores `[n * rows * cols]` float, or None for the frames in colour; `selected`
    columns; `grid` = (rows, cols); `times` in seconds, one a frame, told by `clock`. Scores are normalised over the
    clip by their 1st and 99th percentile (`normalise_scores`). Raises InputError when the shapes do not fit.
    """
    selected = tuple(int(column) for column in selected)
    check_frames(frames, None if times is None else tuple(times), name="heat map")
    if not len(frames):
        raise InputError("heat map: there is no frame to draw; pass at least one")
    check_columns(len(frames), grid, scores, selected, name="heat map")

    num_frames, height, width = frames.shape[:3]
    tile_width, tile_height = _tile_size(width, height)
    across, down = _sheet_shape(num_frames)
    head = 34 if title else 0
    sheet_width = max(2 * MARGIN + across * tile_width + (across - 1) * GAP, 420)
    sheet_height = 2 * MARGIN + head + down * (tile_height + LABEL) + (down - 1) * GAP + LEGEND
    sheet = Image.new("RGB", (sheet_width, sheet_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        _draw_title(draw, title, sheet_width - 2 * MARGIN)

    heat = None if scores is None else normalise_scores(scores).reshape(num_frames, *grid)
    cells = selected_cells(selected, num_frames, grid)
    labels = [f"frame {index}" for index in range(num_frames)] if times is None else frame_labels(times, clock)
    for index, frame in enumerate(frames):
        x = MARGIN + (index % across) * (tile_width + GAP)
        y = MARGIN + head + (index // across) * (tile_height + LABEL + GAP)
        tile = Image.fromarray(frame).resize((tile_width, tile_height), Image.Resampling.BICUBIC)
        if heat is not None:
            layer = Image.fromarray(heat_layer(heat[index])).resize(tile.size, Image.Resampling.NEAREST)
            grey = tile.convert("L").point(lambda level: round(GREY * level)).convert("RGBA")
            tile = Image.alpha_composite(grey, layer).convert("RGB")
        _draw_outline(tile, cells[index])
        sheet.paste(tile, (x, y))
        draw.text((x, y + tile_height + 5), labels[index], font=_font(14), fill=MUTED)
    _draw_legend(sheet, scores, len(set(selected)), cells.size, sheet_height - MARGIN - LEGEND + 18)
    return sheet


def _sheet_shape(count: int) -> tuple[int, int]:
    """Columns and rows: about square, with the fewest empty places."""
    square = math.ceil(math.sqrt(count))
    across = min(range(square, square + 3), key=lambda columns: (-count % columns, columns))
    return across, math.ceil(count / across)


def _tile_size(width: int, height: int) -> tuple[int, int]:
    longest = max(width, height)
    scale = min(max(longest, SMALLEST_TILE), LARGEST_TILE) / longest
    return max(1, round(width * scale)), max(1, round(height * scale))


def _draw_outline(tile: Image.Image, cells: np.ndarray) -> None:
    """Outline the True cells: a bright line on a dark one, so that it shows on any colour."""
    rows, cols = cells.shape
    right, bottom = tile.width - 1, tile.height - 1
    lines = [
        (
            (min(round(x0 * tile.width / cols), right), min(round(y0 * tile.height / rows), bottom)),
            (min(round(x1 * tile.width / cols), right), min(round(y1 * tile.height / rows), bottom)),
        )
        for x0, y0, x1, y1 in outline(cells)
    ]
    draw = ImageDraw.Draw(tile)
    for line in lines:
        draw.line(line, fill=(0, 0, 0), width=5)
    for (x0, y0), (x1, y1) in lines:
        # One pixel longer at both ends, so that corners close.
        along = (1, 0) if y0 == y1 else (0, 1)
        draw.line((x0 - along[0], y0 - along[1], x1 + along[0], y1 + along[1]), fill=OUTLINE, width=3)


def _draw_title(draw: ImageDraw.ImageDraw, title: str, width: int) -> None:
    font = _font(20)
    text = " ".join(title.split())
    if draw.textlength(text, font=font) > width:
        while text and draw.textlength(text + "…", font=font) > width:
            text = text[:-1].rstrip()
        text += "…"
    draw.text((MARGIN, MARGIN - 6), text, font=font, fill=INK)


def _draw_legend(sheet: Image.Image, scores: np.ndarray | None, kept: int, columns: int, y: int) -> None:
    draw = ImageDraw.Draw(sheet)
    font, x = _font(14), MARGIN
    if scores is not None:
        low, high = (score_text(value) for value in score_range(scores))
        draw.text((x, y), "score", font=font, fill=INK)
        x += round(draw.textlength("score", font=font)) + 10
        draw.text((x, y), low, font=font, fill=MUTED)
        x += round(draw.textlength(low, font=font)) + 8
        bar = np.broadcast_to(colour_map(np.linspace(0, 1, 120)), (14, 120, 3))
        sheet.paste(Image.fromarray(np.ascontiguousarray(bar)), (x, y + 2))
        x += 128
        draw.text((x, y), high, font=font, fill=MUTED)
        x += round(draw.textlength(high, font=font)) + 28
    draw.rectangle((x, y + 2, x + 13, y + 15), fill=OUTLINE, outline=(0, 0, 0))
    draw.text((x + 22, y), f"{kept:,} of {columns:,} tokens kept", font=font, fill=INK)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
