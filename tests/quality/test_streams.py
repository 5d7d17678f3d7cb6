"""The second world's streams: the same every time, told rightly, and pictured as told."""

from __future__ import annotations

import json
from collections import Counter

import av
import numpy as np
import pytest

from benchmarks.quality import make_streams
from benchmarks.quality.world import grammar, pictures, prompts
from benchmarks.quality.world.asked import ask_clip, ask_stream
from benchmarks.quality.world.render import RGB
from benchmarks.quality.world.script import CLIP_TICKS, TICK, clip_times
from benchmarks.quality.world.stream_questions import CLIP_KINDS, KINDS, YES_NO
from benchmarks.quality.world.streams import sample_stream
from benchmarks.quality.world.truth import stream_truths

SIZE = 32
STREAMS = [sample_stream((77, index), 12) for index in range(4)]
TRUTHS = [stream_truths(stream) for stream in STREAMS]
HIDING = sample_stream((78, 0), 12, hiding=True)


def told_by_pictures(stream, clip):
    """The clip's caption found again from masks, places and boxes, without the code that made the truth."""
    times = clip_times(clip)
    on_screen = Counter(stream.shot_at(time) for time in times)
    shot = stream.shots[on_screen.most_common(1)[0][0]]
    mine = [time for time in times if stream.shots[stream.shot_at(time)] is shot]
    things, hidden = [], []
    for actor in shot.actors:
        area = (
            np.pi
            * (actor.radius * SIZE) ** 2
            * {"circle": 1.0, "square": 0.92, "triangle": 0.6, "star": 0.58}[actor.shape]
        )
        seen = [t for t in mine if pictures.masks(stream, t, SIZE)[actor.name].sum() > 0.45 * area]
        if len(seen) >= 4:
            moves = Counter()
            for time in seen:
                step = np.diff(actor.centres(np.array([time, time + 0.01]) - shot.start), axis=0)[0]
                names = {(-1, 0): "moves left", (1, 0): "moves right", (0, -1): "moves up", (0, 1): "moves down"}
                moves[names.get(tuple(np.sign(np.where(np.abs(step) > 1e-6, step, 0)).astype(int)), "stays still")] += 1
            things.append(grammar.Thing(actor.colour, actor.shape, moves.most_common(1)[0][0]))
        elif shot.box is not None:
            x, y = actor.centres(np.array([mine[len(mine) // 2]]) - shot.start)[0]
            if abs(x - shot.box.x) < shot.box.half_width and abs(y - shot.box.y) < shot.box.half_height:
                things.append(grammar.Thing(actor.colour, actor.shape, "stays still"))
                hidden.append(actor.name)
    return grammar.caption(tuple(things)), hidden


def test_the_same_seed_gives_the_same_stream_and_the_same_bytes(tmp_path):
    again = sample_stream((77, 0), 12)
    assert make_streams.describe(again, stream_truths(again), 3) == make_streams.describe(STREAMS[0], TRUTHS[0], 3)
    other = sample_stream((77, 1), 12)
    assert make_streams.describe(again, stream_truths(again), 3) != make_streams.describe(
        other, stream_truths(other), 3
    )
    short = sample_stream((77, 5), 2)
    files = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for file in files:
        make_streams.write_video(short, file, side=64, rate=2)
    assert files[0].read_bytes() == files[1].read_bytes()
    with av.open(str(files[0])) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in container.decode(video=0)) == 2 * CLIP_TICKS


def test_captions_tell_what_the_pictures_show():
    kinds = Counter(shot.kind for stream in STREAMS for shot in stream.shots)
    assert kinds["plain"] and kinds["leaves"] and kinds["hides"]
    needed = 0
    for stream, truths in zip([*STREAMS, HIDING], [*TRUTHS, stream_truths(HIDING)], strict=True):
        assert len(truths) == stream.clips
        for clip, truth in enumerate(truths):
            caption, hidden = told_by_pictures(stream, clip)
            assert truth.caption == caption
            assert sorted(truth.hidden) == sorted(hidden)
            needed += truth.needs_past
    assert needed >= 3


def test_in_streams_made_for_memory_things_hide_again_and_again():
    needed = [truth.needs_past for truth in stream_truths(HIDING)]
    assert sum(needed) >= 4 and sum(needed) > max(sum(t.needs_past for t in truths) for truths in TRUTHS)


def test_cuts_ignore_the_clips_borders_and_scenes_come_again():
    cuts = [round(shot.end / TICK) % CLIP_TICKS for stream in STREAMS for shot in stream.shots[:-1]]
    assert np.mean([cut != 0 for cut in cuts]) > 0.7
    for stream in STREAMS:
        for before, after in zip(stream.shots, stream.shots[1:], strict=False):
            assert before.end == after.start


def test_masks_match_the_pictures():
    checked = 0
    for stream in STREAMS[:2]:
        for time in np.arange(0.0, stream.seconds, 3.5):
            picture = next(pictures.frames(stream, np.array([time]), 96)).astype(float) / 255
            for name, mask in pictures.masks(stream, time, 96).items():
                if mask.sum() < 60:
                    continue
                seen = picture[mask].mean(0)
                nearest = min(RGB, key=lambda colour: np.abs(seen - RGB[colour]).max())
                assert nearest == name.split()[0]
                checked += 1
            cells = pictures.cell_shares(stream, np.array([time]))
            assert cells.shape == (1, 16) and cells.min() >= 0 and cells.max() <= 1
    assert checked > 30


def answer_from_lines(question, texts, starts):
    """The answer that a reader of the right captions would give; None where the lines do not decide it."""
    words = question.text.rstrip("?").split()
    if question.kind in CLIP_KINDS or question.kind == "at":
        text = texts[starts.index(words[-1])]
        things = grammar.parse(text)
        if question.kind == "at":
            return text
        if question.kind == "colour":
            (thing,) = [t for t in things if t.shape == words[4]]
            return f"{thing.colour}."
        if question.kind == "shape":
            (thing,) = [t for t in things if t.colour == words[4]]
            return f"{thing.shape}."
        if question.kind == "motion":
            (thing,) = [t for t in things if t.name == " ".join(words[4:6])]
            return thing.told_past().split(thing.shape + " ")[1] + "."
        if question.kind == "count":
            return f"{len(things)}."
        return "yes." if " ".join(words[2:4]) in text else "no."
    if question.kind == "did":
        return "yes." if any(" ".join(words[2:4]) in text for text in texts) else "no."
    if question.kind == "order":
        first, second = (next(i for i, t in enumerate(texts) if " ".join(words[k : k + 2]) in t) for k in (2, 7))
        return "yes." if first < second else "no."
    name = " ".join(words[3:5] if question.kind == "when" else words[4:6])
    index = next(i for i, text in enumerate(texts) if name in text)
    if question.kind == "when":
        return f"at {starts[index]}."
    assert sum(name in text for text in texts) == 1
    return texts[index + (1 if question.kind == "after" else -1)]


def test_answers_are_right_by_brute_force():
    kinds = Counter()
    for stream, truths in zip(STREAMS, TRUTHS, strict=True):
        for question in ask_stream(stream, truths, 3, 3):
            ended = round(question.at / 8)
            texts = [told_by_pictures(stream, clip)[0] for clip in range(ended)] if stream is STREAMS[0] else None
            texts = texts or [truth.caption for truth in truths[:ended]]
            starts = [prompts.clock(8 * i) for i in range(ended)]
            assert answer_from_lines(question, texts, starts) == question.answer, question
            assert 0 <= question.evidence[0] < question.evidence[1] <= question.at
            if question.kind in ("did", "seen") and question.answer == "no.":
                name = " ".join(question.text.split()[2:4]).rstrip("?")
                low, high = question.evidence
                for shot in stream.shots:
                    if shot.start < high and shot.end > low:
                        assert name not in [actor.name for actor in shot.actors]
            kinds[question.kind] += 1
    assert set(kinds) == set(KINDS)


def test_clip_questions_ask_about_what_the_clip_itself_shows():
    for clip, truth in enumerate(TRUTHS[0]):
        for question in ask_clip(STREAMS[0], truth, clip, 1):
            if question.kind == "count":
                assert question.answer == f"{len(truth.things) - len(truth.hidden)}."
            assert question.evidence == (8.0 * clip, 8.0 * clip + 8)


def test_yes_and_no_are_balanced():
    answers = {kind: [] for kind in YES_NO}
    for index in range(12):
        stream = sample_stream((78, index), 10)
        for question in ask_stream(stream, stream_truths(stream), 1, 8):
            if question.kind in YES_NO:
                answers[question.kind].append(question.answer == "yes.")
    for kind, given in answers.items():
        assert len(given) >= 60
        assert abs(np.mean(given) - 0.5) < 0.15, kind


def test_long_streams_show_scenes_again_and_rare_things_once():
    stream = sample_stream((79, 0), 110)
    assert stream.seconds == 880 and stream.shots[-1].end == 880
    again = [shot for shot in stream.shots if shot.repeats >= 0]
    assert len(again) >= 3
    for shot in again:
        first = stream.shots[shot.repeats]
        assert {actor.name for actor in first.actors} == {actor.name for actor in shot.actors}
        assert first.style == shot.style and first.end <= shot.start
    assert len(stream.rare) >= 8
    for name in stream.rare:
        assert sum(name == actor.name for shot in stream.shots for actor in shot.actors) == 1


@pytest.mark.parametrize("name", ["mp4", "json", "masks.npz"])
def test_the_command_writes_every_file(tmp_path_factory, name, monkeypatch):
    out = tmp_path_factory.getbasetemp() / "streams"
    if not out.exists():
        monkeypatch.setattr(
            "sys.argv", ["make_streams", "--out", str(out), "--minutes", "0.3", "--side", "64", "--rate", "2"]
        )
        make_streams.main()
    (file,) = out.glob(f"*.{name}")
    if name == "json":
        told = json.loads(file.read_text())
        assert len(told["clips"]) == 2 and told["questions"]
    if name == "masks.npz":
        assert len(np.load(file)["times"]) == 2 * CLIP_TICKS
