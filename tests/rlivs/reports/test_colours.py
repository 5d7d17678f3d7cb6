import numpy as np
import pytest

from rlivs.reports.colours import colour_map, heat_layer, normalise_scores, score_range, score_text


def lightness(rgb):
    """CIELAB L* of sRGB `[..., 3]` uint8."""
    linear = rgb / 255.0
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > (6 / 29) ** 3, 116 * np.cbrt(luminance) - 16, luminance * (29 / 3) ** 3)


def test_lightness_rises_evenly():
    values = np.linspace(0, 1, 257)
    rising = lightness(colour_map(values).astype(np.float64))
    # Within 2 of 100 of the straight line from 5 to 95.
    assert np.abs(rising - (5 + 90 * values)).max() < 2
    assert (np.diff(rising[::8]) > 0).all()


def test_heat_layer_grows_opaque_with_the_value():
    layer = heat_layer(np.array([[0.0, 0.5, 1.0]]))
    assert layer.shape == (1, 3, 4)
    np.testing.assert_array_equal(layer[..., :3], colour_map(np.array([[0.0, 0.5, 1.0]])))
    assert layer[0, :, 3].tolist() == [115, 172, 230]


def test_one_sink_does_not_darken_the_rest():
    scores = np.linspace(0, 1, 1000, dtype=np.float32)
    with_sink = scores.copy()
    with_sink[0] = 1e6
    kept = normalise_scores(with_sink)[1:]
    np.testing.assert_allclose(kept, normalise_scores(scores)[1:], atol=0.02)


def test_normalised_scores_lie_in_the_unit_range_and_keep_their_order():
    scores = np.random.default_rng(0).gamma(0.5, size=3136).astype(np.float32)
    values = normalise_scores(scores)
    assert values.min() == 0
    assert values.max() == 1
    assert (np.diff(values[np.argsort(scores)]) >= 0).all()


@pytest.mark.parametrize(
    "scores", [np.full(8, 0.25, np.float32), np.full(8, np.nan, np.float32), np.zeros(8, np.float32)]
)
def test_flat_or_missing_scores_are_dark(scores):
    np.testing.assert_array_equal(normalise_scores(scores), np.zeros(8))


def test_a_missing_score_is_dark_and_outside_the_range():
    scores = np.array([np.nan, 1.0, 2.0, 3.0, np.inf], np.float32)
    low, high = score_range(scores)
    assert 1 <= low < high <= 3
    assert normalise_scores(scores)[0] == 0


@pytest.mark.parametrize(
    ("score", "text"), [(0, "0"), (0.25, "0.25"), (0.00034, "3.4e-4"), (1.2e-7, "1.2e-7"), (12345.0, "1.2e4")]
)
def test_score_text_is_short(score, text):
    assert score_text(score) == text
