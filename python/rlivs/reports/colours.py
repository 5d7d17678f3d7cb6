"""Scores to colours: a sequential map whose lightness rises evenly."""

import numpy as np

# Nine colours whose CIELAB lightness is 5, 16.25, .., 95 (steps of 11.25), hue going from blue over magenta
# and orange to pale yellow: equal steps of score are equal steps of lightness, in print and to colour-blind eyes too.
ANCHORS = np.array(
    [
        (7, 15, 42),
        (21, 33, 98),
        (87, 37, 142),
        (166, 24, 134),
        (227, 34, 105),
        (249, 99, 68),
        (249, 157, 32),
        (253, 203, 40),
        (254, 241, 185),
    ],
    dtype=np.float64,
)

# The outline of selected tokens: a hue that the map above never takes.
OUTLINE = (92, 225, 255)

LOW_PERCENTILE, HIGH_PERCENTILE = 1.0, 99.0


def score_range(scores: np.ndarray) -> tuple[float, float]:
    """The 1st and 99th percentile of a clip's finite scores; (0, 0) where none is finite.

    Attention has sinks: a handful of columns can hold most of the mass, and a range up to the maximum would
    leave everything else black.
    """
    finite = scores[np.isfinite(scores)]
    if not finite.size:
        return 0.0, 0.0
    low, high = np.percentile(finite.astype(np.float64), [LOW_PERCENTILE, HIGH_PERCENTILE])
    return float(low), float(high)


def normalise_scores(scores: np.ndarray) -> np.ndarray:
    """`clip((scores - low) / (high - low), 0, 1)` with `score_range`; float64, same shape.

    NaN and a clip whose scores are all alike become 0.
    """
    low, high = score_range(scores)
    if high <= low:
        return np.zeros(scores.shape)
    return np.clip(np.nan_to_num((scores.astype(np.float64) - low) / (high - low), nan=0.0), 0.0, 1.0)


def score_text(score: float) -> str:
    """A score in at most three digits, such as `0.012`, `3.4e-5` or `0`."""
    if score == 0 or 1e-3 <= abs(score) < 1e3:
        return f"{score:.2g}"
    mantissa, exponent = f"{score:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def colour_map(values: np.ndarray) -> np.ndarray:
    """Values in 0..1, `[...]`, to RGB, `[..., 3]` uint8."""
    positions = np.linspace(0.0, 1.0, len(ANCHORS))
    channels = [np.interp(values, positions, ANCHORS[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def heat_layer(values: np.ndarray) -> np.ndarray:
    """Values in 0..1, `[rows, cols]`, to RGBA, `[rows, cols, 4]` uint8, to be laid over a dimmed grey frame.

    Opacity rises with the value, from 45 to 90 %: what was ignored stays visible.
    """
    alpha = np.rint(255 * (0.45 + 0.45 * values)).astype(np.uint8)
    return np.concatenate([colour_map(values), alpha[..., None]], axis=-1)


def css_gradient() -> str:
    """The map, left to right, as a CSS `linear-gradient`."""
    stops = ", ".join(f"rgb({red:.0f} {green:.0f} {blue:.0f})" for red, green, blue in ANCHORS)
    return f"linear-gradient(90deg, {stops})"
