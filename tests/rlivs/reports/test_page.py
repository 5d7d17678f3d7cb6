import base64
import hashlib
import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rlivs.reports
from rlivs.errors import InputError
from rlivs.reports import Citation, Report, ReportAnswer, render_report, shrink_frames, write_report
from rlivs.reports.colours import colour_map

VOID = {"meta", "link", "img", "input", "br", "hr"}
ADDRESSES = {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}
ATTACKS = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</title></style></script><svg onload=alert(1)>",
    "{{ 7 * 7 }} {% raw %}",
    "' onmouseover='alert(1)",
    "&lt;b&gt; & \u202e right to left",
]


class Page(HTMLParser):
    """The elements of a page, in order; fails on any that is not closed where it should be."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []  # [tag, attributes, text]
        self.open = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append([tag, dict(attributes), ""])
        if tag not in VOID:
            self.open.append(self.elements[-1])

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element[2] += data

    def all(self, tag, **attributes):
        return [
            element
            for element in self.elements
            if element[0] == tag
            and all(value in element[1].get(name.rstrip("_"), "").split() for name, value in attributes.items())
        ]


def decoded(uri):
    kind, data = re.fullmatch(r"data:(image/\w+);base64,(.+)", uri).groups()
    return kind, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.fixture
def page(make_report):
    return Page(render_report(make_report()))


def test_every_element_is_closed_and_every_id_is_unique(page):
    identifiers = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {"timeline", "answers", "clips", "answer-1", "answer-2", "clip-0", "clip-5"} <= set(identifiers)
    labelled = {name for _, attributes, _ in page.elements for name in attributes.get("aria-labelledby", "").split()}
    assert labelled <= set(identifiers)


def test_landmarks_and_headings(page):
    for landmark in ("header", "nav", "main", "footer"):
        assert page.all(landmark)
    assert [element[2] for element in page.all("h1")] == ["Squares"]
    assert [element[2] for element in page.all("h2")] == ["Questions and answers", "Clips", "The run", "Notes"]
    assert all("alt" in element[1] for element in page.all("img"))
    assert all(element[1]["alt"].startswith("Frame at ") for element in page.all("img", class_="photo"))


def test_nothing_is_loaded_from_outside(make_report):
    text = render_report(make_report())
    page = Page(text)
    for tag, attributes, _ in page.elements:
        for name in ADDRESSES & set(attributes):
            assert attributes[name].startswith(("#", "data:")), (tag, name, attributes[name][:80])
    assert "url(" not in text
    assert "@import" not in text
    assert "http://" not in text
    assert "https://" not in text


def test_the_policy_admits_the_one_script_and_no_address(page):
    (script,) = page.all("script")
    (policy,) = [element[1]["content"] for element in page.all("meta") if "http-equiv" in element[1]]
    digest = base64.b64encode(hashlib.sha256(script[2].encode()).digest()).decode()
    assert policy == (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'")


def test_every_link_inside_the_page_has_its_target(page):
    identifiers = {attributes["id"] for _, attributes, _ in page.elements if "id" in attributes}
    targets = [attributes["href"][1:] for tag, attributes, _ in page.elements if tag == "a"]
    assert set(targets) <= identifiers
    cited = [element[1]["href"] for element in page.all("a") if "data-clip" in element[1]]
    assert cited.count("#clip-2") == 3  # its block, and once in each answer
    assert {element[1]["href"] for element in page.all("a", class_="block")} == {f"#clip-{i}" for i in range(6)}


def test_a_citation_of_a_clip_that_is_not_on_the_page_is_text(make_report):
    answer = ReportAnswer(question="q", text="t", citations=(Citation(90.0, 94.0, "long ago", 77),))
    page = Page(render_report(make_report(answers=(answer,))))
    assert "#clip-77" not in {element[1]["href"] for element in page.all("a")}
    (citations,) = page.all("ol", class_="citations")
    assert "long ago" in citations[2]
    assert "1:30–1:34" in citations[2]


@pytest.mark.parametrize("attack", ATTACKS)
def test_texts_stay_texts(make_report, make_clip, attack):
    clip = make_clip(0, caption=attack, expected=attack + " more")
    answer = ReportAnswer(
        question=attack, text=attack, at=1.0, citations=(Citation(0.0, 4.0, attack, 0),), expected=attack
    )
    report = Report(
        title=attack,
        source=attack,
        model=attack,
        settings={attack: attack},
        clips=(clip,),
        answers=(answer,),
        figures={attack: attack},
        notes=(attack,),
    )
    harmless = Page(render_report(make_report(clips=(make_clip(0, expected="no"),), answers=(answer,))))
    page = Page(render_report(report))
    (script,) = page.all("script")
    assert script[2] == harmless.all("script")[0][2]
    for _, attributes, _ in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
    assert {element[0] for element in page.elements} <= {element[0] for element in harmless.elements} | {"em"}
    assert page.all("h1")[0][2] == attack
    assert page.all("title")[0][2] == attack
    assert [element[2] for element in page.all("h3")] == [attack, attack]
    assert page.all("p", class_="reply")[0][2] == attack
    assert page.all("th")[0][2] == page.all("td")[0][2] == attack
    assert page.all("q")[0][2] == attack + " more"
    assert attack in page.all("ol", class_="citations")[0][2]
    assert page.all("a", class_="block")[0][1]["aria-label"] == f"0:00–0:04 {attack}"


@pytest.mark.parametrize(("frame", "row", "col"), [(0, 0, 0), (1, 2, 3), (3, 1, 4), (2, 2, 0)])
def test_overlays_mark_the_right_token(make_report, make_clip, frame, row, col):
    rows, cols = grid = (3, 5)
    column = (frame * rows + row) * cols + col
    scores = np.zeros(4 * rows * cols, np.float32)
    scores[column] = 1.0
    clip = make_clip(0, grid=grid, scores=scores, selected=(column,))
    page = Page(render_report(make_report(clips=(clip,), answers=())))

    heats = [decoded(element[1]["src"]) for element in page.all("img", class_="heat")]
    assert [kind for kind, _ in heats] == ["image/png"] * 4
    heat = np.stack([pixels for _, pixels in heats])
    assert heat.shape == (4, rows, cols, 4)
    # One column of sixty lies above the 99th percentile, and so at the brightest colour.
    bright = (heat[..., :3] == colour_map(np.array(1.0))).all(axis=-1)
    dark = (heat[..., :3] == colour_map(np.array(0.0))).all(axis=-1)
    assert np.argwhere(bright).tolist() == [[frame, row, col]]
    assert dark.sum() == heat[..., 0].size - 1

    kept = page.all("svg", class_="kept")
    assert [element[1]["viewbox"] for element in kept] == [f"0 0 {cols} {rows}"] * 4
    edges = [element[1]["d"] for element in page.all("path", class_="edge")]
    assert edges == [f"M{col} {row}h1M{col} {row + 1}h1M{col} {row}v1M{col + 1} {row}v1"]
    shades = [element[1]["d"] for element in page.all("path", class_="shade")]
    holes = [shade.count("M") - 1 for shade in shades]
    assert holes == [int(index == frame) for index in range(4)]
    assert f"M{col} {row}h1v1h-1z" in shades[frame]
    alts = [element[1]["alt"] for element in page.all("img", class_="photo")]
    assert alts[frame].endswith(", 1 token kept")


def test_photos_are_the_frames(make_report, make_clip):
    clip = make_clip(0)
    page = Page(render_report(make_report(clips=(clip,), answers=())))
    photos = page.all("img", class_="photo")
    assert len(photos) == 4
    for frame, element in zip(clip.frames, photos, strict=True):
        kind, pixels = decoded(element[1]["src"])
        assert kind == "image/jpeg"
        assert (pixels.shape[1], pixels.shape[0]) == (int(element[1]["width"]), int(element[1]["height"]))
        assert np.abs(pixels.astype(int) - frame.astype(int)).mean() < 12


def test_the_views_work_without_a_script(make_report, make_clip):
    clips = (make_clip(0), make_clip(1, selected=()), make_clip(2, scores=None, selected=()))
    page = Page(render_report(make_report(clips=clips, answers=())))

    def views(index):
        return [
            (element[1]["value"], "checked" in element[1])
            for element in page.all("input", type="radio")
            if element[1]["name"] == f"view-{index}"
        ]

    assert views(0) == [("frames", False), ("scores", False), ("selected", True)]
    assert views(1) == [("frames", True), ("scores", False)]
    assert views(2) == [("frames", True)]
    # What only the script can serve is hidden until it runs.
    assert all("hidden" in element[1] for element in page.elements if "needs-script" in element[1].get("class", ""))


def test_texts_are_compared_with_what_was_expected(make_report):
    page = Page(render_report(make_report()))
    verdicts = [element[2].split() for element in page.all("p", class_="verdict")]
    assert [verdict[0] for verdict in verdicts] == ["✓", "✗", "✗"]
    assert [element[2] for element in page.all("em")] == ["seven", "left"]
    tiles = page.all("dl", class_="tiles")[0][2].split("\n")
    tiles = [line.strip() for line in tiles if line.strip()]
    assert "captions as in the script0 / 1" in tiles
    assert "answers as in the script1 / 2" in tiles


def test_four_minutes_of_clips_stay_small(make_report, make_clip):
    y, x = np.mgrid[:256, :256]
    ground = (120 + 50 * np.sin(x / 9) * np.cos(y / 13))[..., None] + np.zeros(3)
    grain = np.random.default_rng(0).normal(scale=6, size=(256, 256, 3))
    clips = []
    for index in range(30):
        frames = np.repeat(np.clip(ground + grain, 0, 255).astype(np.uint8)[None], 16, axis=0)
        for frame in range(16):
            frames[frame, 60:140, 10 * frame : 10 * frame + 80] = (200, 40, 6 * index)
        scores = np.random.default_rng(index).gamma(0.3, size=16 * 196).astype(np.float32)
        selected = tuple(sorted(np.argsort(scores)[-196:].tolist()))
        clip = make_clip(index, num_frames=16, side=256, fps=2.0, grid=(14, 14), scores=scores, selected=selected)
        clips.append(replace(clip, frames=frames))
    size = len(render_report(make_report(clips=tuple(clips), answers=())).encode())
    assert 1_000_000 < size < 6_000_000


def test_many_frames_share_the_same_room(make_report, make_clip):
    def width(count):
        clips = tuple(
            make_clip(index, num_frames=16, side=200, grid=(1, 1), scores=None, selected=()) for index in range(count)
        )
        page = Page(render_report(make_report(clips=clips, answers=())))
        return int(page.all("img", class_="photo")[0][1]["width"])

    assert width(2) == 128
    assert width(60) == 90


def test_same_report_same_bytes(make_report):
    assert render_report(make_report()) == render_report(make_report())


def test_an_empty_report_is_a_page(make_report):
    page = Page(render_report(Report(title="Nothing", source="none", model="none")))
    assert "No clip was captioned." in page.all("section")[0][2]
    assert not page.all("nav")


def test_clips_without_pictures_keep_their_captions(make_report, make_clip):
    clip = make_clip(4)
    bare = replace(clip, frames=np.zeros((0, 0, 0, 3), np.uint8), times=(), caption="kept")
    page = Page(render_report(make_report(clips=(bare,), answers=())))
    assert page.all("h3")[0][2] == "kept"
    assert not page.all("img")
    assert not page.all("input")


def test_shrinking_keeps_the_shape_of_the_picture():
    frames = np.random.default_rng(0).integers(0, 255, (2, 90, 160, 3), dtype=np.uint8)
    assert shrink_frames(frames, 64).shape == (2, 36, 64, 3)
    assert shrink_frames(frames, 200) is frames
    flat = np.full((1, 100, 50, 3), 77, np.uint8)
    np.testing.assert_array_equal(shrink_frames(flat, 10), np.full((1, 10, 5, 3), 77, np.uint8))


def test_write_report_writes_what_render_report_gives(make_report, tmp_path):
    report = make_report()
    path = write_report(report, str(tmp_path / "report.html"))
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == render_report(report)
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_file_name_that_is_no_text_is_shown_with_marks(make_report, tmp_path):
    path = write_report(make_report(source=os.fsdecode(b"caf\xe9.mp4")), tmp_path / "report.html")
    assert "caf?.mp4" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("place", ["missing/report.html", "."])
def test_a_path_that_cannot_be_written_is_refused(make_report, tmp_path, place):
    with pytest.raises(InputError, match=r"choose another path|a file name"):
        write_report(make_report(), tmp_path / place)


def test_a_failed_write_leaves_the_old_report(make_report, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def refuse(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match="No space left on device"):
        write_report(make_report(), path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_reports_need_neither_torch_nor_transformers():
    package = Path(rlivs.reports.__file__).parents[1]
    program = (
        "import sys, types; rlivs = types.ModuleType('rlivs'); rlivs.__path__ = [sys.argv[1]]; "
        "sys.modules['rlivs'] = rlivs; import rlivs.reports; rlivs.reports.render_report("
        "rlivs.reports.Report(title='t', source='s', model='m')); "
        "print(sorted({'torch', 'transformers', 'av'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program, str(package)], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
