"""Scenes keep to their script, and pictures to their scenes."""

from __future__ import annotations

import numpy as np

from benchmarks.quality.make_demo import clip_lines, describe, script
from benchmarks.quality.world import render, scenes
from benchmarks.quality.world.grammar import COLOURS, MOTIONS, SHAPES, Thing


def test_things_stay_inside_and_apart():
    for seed in range(150):
        rng = np.random.default_rng(seed)
        scene = scenes.sample_scene(rng, scenes.sample_things(rng, 1 + seed % 2))
        centres = scene.centres(np.linspace(0, 1, 33))
        reach = scenes.EXTENT * scene.radii[None, :, None]
        assert (centres - reach > 0).all() and (centres + reach < 1).all()
        if len(scene.things) == 2:
            gap = np.hypot(*(centres[:, 0] - centres[:, 1]).T)
            assert gap.min() > scenes.EXTENT * scene.radii.sum()


def test_motion_goes_where_the_caption_says():
    for motion, direction in scenes.DIRECTIONS.items():
        rng = np.random.default_rng(3)
        scene = scenes.sample_scene(rng, (Thing("red", "star", motion),))
        travel = scene.travels[0]
        assert np.allclose(np.sign(travel), direction)
        assert motion == "stays still" or np.abs(travel).max() >= 0.2


def test_a_thing_is_painted_in_its_colour_at_its_place():
    for colour in COLOURS:
        for shape in SHAPES:
            rng = np.random.default_rng(5)
            scene = scenes.sample_scene(rng, (Thing(colour, shape, MOTIONS[1]),))
            for progress in (0.0, 0.5, 1.0):
                frame = render.render(scene, 96, np.array([progress]))[0]
                x, y = (scene.centres(np.array([progress]))[0, 0] * 96).astype(int)
                assert np.abs(frame[y, x] / 255 - render.RGB[colour]).max() < 0.12


def test_shapes_look_different():
    pictures = []
    for shape in SHAPES:
        style = scenes.sample_style(np.random.default_rng(0))
        scene = scenes.Scene(
            (Thing("red", shape, "stays still"),), np.full((1, 2), 0.5), np.zeros((1, 2)), np.full(1, 0.16), style
        )
        pictures.append(render.render(scene, 64, np.zeros(1))[0].astype(float))
    for i, first in enumerate(pictures):
        for second in pictures[:i]:
            assert (np.abs(first - second).max(axis=-1) > 40).sum() > 40


def test_the_same_seed_gives_the_same_script():
    assert describe(clip_lines(script(0)), 0) == describe(clip_lines(script(0)), 0)
    assert describe(clip_lines(script(0)), 0) != describe(clip_lines(script(1)), 1)
    first, again = script(0)[3].scene, script(0)[3].scene
    a, b = (render.render(scene, 48, np.linspace(0, 1, 3)) for scene in (first, again))
    assert (a == b).all() and a.std() > 5
