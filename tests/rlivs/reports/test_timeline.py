import pytest

from rlivs.reports import Citation, ReportAnswer
from rlivs.reports.timeline import Axis, blocks, evidence, tick_step


def per_cent(text):
    assert text.endswith("%")
    return float(text[:-1])


def test_blocks_cover_the_stream_without_overlap(make_report):
    report = make_report()
    drawn = blocks(report, Axis.of(report))
    assert [block.index for block in drawn] == list(range(6))
    edge = 0.0
    for block in drawn:
        assert per_cent(block.x) == pytest.approx(edge, abs=2e-3)
        edge = per_cent(block.x) + per_cent(block.width)
    assert edge == pytest.approx(100, abs=2e-3)


def test_a_stream_that_starts_late_fills_the_axis(make_report, make_clip):
    report = make_report(clips=(make_clip(10), make_clip(11)), answers=())
    axis = Axis.of(report)
    assert (axis.start, axis.end) == (40.0, 48.0)
    assert [tick.label for tick in axis.ticks()] == [f"0:{second}" for second in range(40, 49)]
    assert axis.at(44) == "50%"


def test_blocks_tell_new_captions_and_wrong_ones(make_report, make_clip):
    captions = ["a cat sits", "a cat sits", "dogs run fast"]
    clips = tuple(make_clip(i, caption=text, expected="a cat sits") for i, text in enumerate(captions))
    report = make_report(clips=clips, answers=())
    drawn = blocks(report, Axis.of(report))
    assert [block.level for block in drawn] == [3, 0, 3]
    assert [block.wrong for block in drawn] == [False, False, True]
    assert drawn[2].label == "0:08–0:12 dogs run fast"


def test_evidence_shows_what_was_seen_and_cited(make_report):
    report = make_report()
    axis = Axis.of(report)
    answer = ReportAnswer(question="", text="", at=12.0, citations=(Citation(0.0, 4.0, "", 0),))
    assert evidence(answer, axis) == {"seen": "50%", "spans": [{"x": "0%", "width": "16.667%"}]}
    assert evidence(ReportAnswer(question="", text=""), axis)["seen"] == "100%"


def test_an_empty_report_still_has_an_axis(make_report):
    axis = Axis.of(make_report(clips=(), answers=()))
    assert axis.at(0) == "0%"
    assert axis.ticks()


@pytest.mark.parametrize("duration", [0.5, 7, 64, 240, 3600, 86400, 10_000_000])
def test_tick_step_gives_at_most_the_wanted_parts(duration):
    assert duration / tick_step(duration, most=8) <= 8


def test_tick_step_is_the_shortest_that_fits():
    assert tick_step(240) == 30
    assert tick_step(241) == 60
