"""The page in a real browser, from a real server process with a real (tiny, untrained) model."""

import base64
import io
import socket
import sys
from datetime import datetime

import httpx
import numpy as np
import pytest
from browser import CHROMIUM, Browser
from films import write_film
from PIL import Image
from tiny_models import save_tiny_checkpoint

from rlivs.video import open_video

if CHROMIUM is None:
    print("CHROMIUM IS MISSING: THE PAGE IS NOT TESTED; install it: apt-get install chromium", file=sys.stderr)
    pytest.skip("CHROMIUM IS MISSING: THE PAGE IS NOT TESTED; apt-get install chromium", allow_module_level=True)

pytestmark = pytest.mark.xdist_group("page")
HARMFUL = '<img src=x onerror="window.harmed = true">'


def pixels():
    file = io.BytesIO()
    Image.new("RGB", (96, 96), (40, 90, 160)).save(file, "PNG")
    return file.getvalue()


PIXELS = pixels()


class Site:
    """A server process that can be killed and started again on the same port and memory."""

    def __init__(self, start, folder):
        self.folder, self._start = folder, start
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        save_tiny_checkpoint(folder / "model", "llava_onevision")
        write_film(folder / "film.mp4", seconds=16)
        self.start()

    def start(self, *more):
        self.process = self._start(
            "--model", self.folder / "model", "--memory", self.folder / "captions.db", "--device", "cpu", "--fps", "2",
            "--set", "frames_per_clip=4", "--set", "max_caption_tokens=12", "--set", "max_answer_tokens=16",
            "--set", "keep_fraction=0.4",
            "--root", self.folder, "--port", self.port, *more, log=self.folder / "server.log",
        )  # fmt: skip
        self.process.wait_until_ready(self.address)

    def call(self, method, path, **options):
        answer = httpx.request(method, f"{self.address}{path}", trust_env=False, timeout=120, **options)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def site(tmp_path_factory, start_server):
    site = Site(start_server, tmp_path_factory.mktemp("site"))
    site.call("POST", "/api/streams", json={"name": "film", "source": "film.mp4"})
    yield site
    assert site.process.stop() == 0, (site.folder / "server.log").read_text()


@pytest.fixture
def browser(tmp_path, site):
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def check_pictures(site):
    """Every clip's picture is the film's own frame at the clip's last sample."""
    with open_video(site.folder / "film.mp4") as film:
        frames = {frame.time: frame.image for frame in film.frames()}
    for clip in range(8):
        picture = site.call("GET", f"/api/streams/film/picture?clip={clip}")
        assert (picture["clip"], picture["time"]) == (clip, 2 * clip + 1.5)
        data = base64.b64decode(picture["image"].partition(",")[2])
        shown = np.asarray(Image.open(io.BytesIO(data)), float)
        assert np.abs(shown - frames[2 * clip + 1.5]).mean() < 3
        others = [np.abs(shown - image).mean() for time, image in frames.items() if abs(time - 2 * clip - 1.5) > 1]
        assert np.abs(shown - frames[2 * clip + 1.5]).mean() < min(others)


ALL_HERE = "document.querySelectorAll('#captions li').length === 8 && !document.querySelector('#photo').hidden"
ANSWERED = "document.querySelector('.answer:not(.coming) .citations .line') !== null"


def ask(browser, question):
    browser.run("document.querySelector('#question').focus()")
    browser.type(question)
    browser.key("Enter")
    browser.wait(ANSWERED)


def test_watch_ask_and_jump(site, browser):
    browser.open(site.address)
    browser.wait(ALL_HERE)
    # The picture with its selected tokens
    assert browser.run("document.querySelector('#photo').naturalWidth") == 96
    assert browser.run("document.querySelector('#kept').checkVisibility()")
    assert browser.run("document.querySelector('#kept .edge').getAttribute('d')").startswith("M")
    assert "tokens kept" in browser.text("#count")
    browser.click('input[name="view"][value="scores"]')
    browser.wait(
        "document.querySelector('#heat').checkVisibility() && document.querySelector('#heat').naturalWidth > 0"
    )
    # A question, its answer and the clips it rests on
    ask(browser, HARMFUL)
    assert browser.text(".answer h3") == HARMFUL
    assert browser.text(".answer .reply")
    cited = browser.run("document.querySelectorAll('.citations .line').length")
    assert cited == browser.run("document.querySelectorAll('.block.cited').length") > 0
    browser.wait("/\\d/.test(document.querySelector('#meter-answer').innerText)")
    assert "KB" in browser.text("#meter-memory") or "MB" in browser.text("#meter-memory")
    # A cited clip that jumps to its time
    browser.run("document.querySelector('.answer details').open = true")
    browser.click(".citations li:first-child .line")
    first = browser.text(".citations li:first-child .span")
    browser.wait(f"document.querySelector('#count').innerText.startsWith('{first}')")
    assert browser.text('[aria-current="true"] .span') == first
    assert browser.run("document.querySelectorAll('.block.here').length") == 1
    browser.key("Escape")
    browser.wait("document.querySelector('#back').hidden && !document.querySelector('#stage').matches('.past')")
    # What the user typed was never markup
    assert browser.run("window.harmed") is None
    assert browser.run("document.querySelectorAll('.answer img').length") == 0
    assert browser.faults == []


def test_pictures_of_clips(site, browser):
    browser.open(site.address)
    browser.wait(ALL_HERE)
    check_pictures(site)


def test_by_keyboard_and_by_ear(site, browser):
    browser.open(site.address)
    browser.wait(ALL_HERE)
    names = dict.fromkeys(browser.roles())
    for role, name in (
        ("combobox", "Stream"), ("textbox", "Question about the stream"), ("button", "Ask"), ("button", "Add stream"),
        ("navigation", "Timeline of the stream"), ("list", "Captions, newest first"), ("radio", "Selected"),
        ("heading", "Captions"), ("main", ""), ("banner", ""), ("link", "Skip to the question"),
    ):  # fmt: skip
        assert (role, name) in names, (role, name, sorted(names))
    assert any(role == "button" and name.startswith("0:00–0:02: ") for role, name in names)
    assert any(role == "image" and name.startswith("Frame at ") for role, name in names)
    # Every stop of the Tab key, in order; all of them can be seen to have the focus
    stops = []
    for _ in range(40):
        browser.key("Tab")
        stop = browser.run(
            "(e => e.id || e.getAttribute('data-clip') || e.name || e.innerText)(document.activeElement)"
        )
        if stop in stops:
            break
        stops.append(stop)
    assert {"streams", "add", "view", "question", "answer_from", "captions", "7"} <= set(stops), stops
    # The timeline is one stop; arrows walk it, Enter looks
    browser.run("document.querySelector('.block[tabindex=\"0\"]').focus()")
    browser.key("Home")
    browser.key("ArrowRight")
    browser.key("Enter")
    browser.wait("document.querySelector('#count').innerText.startsWith('0:02–0:04')")
    # A dialog takes the focus and gives it back
    browser.run("document.querySelector('#add').focus()")
    browser.key("Enter")
    browser.wait("document.querySelector('#new-stream').open && document.activeElement.id === 'new-name'")
    browser.key("Escape")
    browser.wait("document.activeElement.id === 'add'")
    assert browser.faults == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(site, browser, width):
    browser.resize(width, 800, mobile=width < 800)
    browser.open(site.address)
    browser.wait(ALL_HERE)
    ask(browser, "What happens with the thing_that_has_a_very_long_name_without_any_space_in_it_at_all?")
    assert browser.run("document.documentElement.scrollWidth") <= width
    for selector in ("#ask button", "#streams", "#question"):
        assert browser.run(f"document.querySelector('{selector}').getBoundingClientRect().height") >= 36


def test_a_stream_is_added_refused_and_deleted(site, browser):
    browser.open(site.address)
    browser.wait(ALL_HERE)
    browser.click("#add")
    browser.run("document.querySelector('#new-name').focus()")
    browser.type("second")
    browser.run("document.querySelector('#new-source').focus()")
    browser.type("../../etc/passwd")
    browser.key("Enter")
    browser.wait("document.querySelector('#new-wrong').innerText.includes('no such video')")
    browser.run("document.querySelector('#new-source').value = 'film.mp4'")
    browser.click("#new-form .strong")
    browser.wait("document.querySelector('#streams').value === 'second'")
    browser.wait(ALL_HERE)
    browser.click("#remove")
    browser.click("#confirm .danger")
    browser.wait("document.querySelector('#streams').value === 'film'")
    assert [each["stream"] for each in site.call("GET", "/api/streams")["streams"]] == ["film"]


def test_the_page_comes_back_after_a_killed_server(site, browser):
    browser.open(site.address)
    browser.wait(ALL_HERE)
    captions = browser.text("#captions")
    site.process.kill()
    browser.wait("document.querySelector('#trouble').innerText.includes('does not answer')")
    site.start()
    browser.wait("document.querySelector('#trouble').innerText === ''")
    assert browser.text("#captions") == captions  # each once, none lost
    assert site.call("GET", "/api/streams/film/picture")["clip"] == 7  # though no frame has come since the start
    check_pictures(site)
    ask(browser, "What was there before?")
    assert browser.text(".answer .reply")
    # What comes now arrives on the page that was open all the time
    site.call("POST", "/api/streams", json={"name": "film", "resume": True})
    frame = site.folder / "frame.png"
    for second in range(16, 22):
        Image.new("RGB", (96, 96), (second * 9, 40, 40)).save(frame)
        site.call("POST", f"/api/streams/film/frames?time={second}", content=frame.read_bytes())
    browser.wait("document.querySelectorAll('#captions li').length > 8")
    assert len(set(browser.run("[...document.querySelectorAll('#captions [data-clip]')].map(e => e.dataset.clip)"))) > 8


def test_a_stream_by_the_clock(site, browser):
    """Captions, ticks, answers and pictures show the server's wall clock; moments that are counted stay as they are."""
    assert site.process.stop() == 0
    site.start("--clock")
    site.call("POST", "/api/streams", json={"name": "desk"})
    for time in range(0, 60):
        site.call("POST", f"/api/streams/desk/frames?time={time / 2}", content=PIXELS)
    site.call("DELETE", "/api/streams/desk/source")
    browser.open(f"{site.address}/?stream=desk")
    browser.wait("document.querySelectorAll('#captions li').length === 15")
    epoch = site.call("GET", "/api/streams/desk")["epoch"]
    moments = [datetime.fromtimestamp(int(epoch + second)) for second in range(31)]
    first, last = moments[0], moments[2]
    assert browser.text("#captions li:last-child .span") == f"{first:%H:%M:%S}–{last:%H:%M:%S}"
    ticks = browser.run("[...document.querySelectorAll('.tick text')].map((tick) => tick.textContent)")
    assert len(ticks) >= 3 and set(ticks) <= {f"{moment:%H:%M:%S}" for moment in moments}
    assert all(int(tick[-1]) % 5 == 0 for tick in ticks)
    ask(browser, "Who came today?")
    assert f"Asked at {moments[30]:%H:%M}" in browser.text(".answer .facts")
    browser.run("document.querySelector('.answer details').open = true")
    assert browser.text(".citations li:first-child .span") == f"{first:%H:%M:%S}–{last:%H:%M:%S}"
    browser.wait(f"document.querySelector('#count').innerText.startsWith('{moments[29]:%H:%M}')")
    # No span of times runs into its caption.
    overlaps = "[...document.querySelectorAll('.line')].filter((line) => line.firstElementChild.scrollWidth > "
    assert browser.run(f"{overlaps} line.firstElementChild.clientWidth + 1).length") == 0

    browser.open(f"{site.address}/?stream=film")
    browser.wait("document.querySelectorAll('#captions li').length >= 8")
    assert browser.text("#captions li:last-child .span") == "0:00–0:02"
    assert "0:00" in browser.run("[...document.querySelectorAll('.tick text')].map((tick) => tick.textContent)")


def test_where_summer_time_ends(site, browser):
    """Moments before and after are told by the clock that was then."""
    browser.open(site.address)
    told = browser.run(
        """(async () => {
            const { setClock, time } = await import("./page/words.js");
            setClock(null);
            setClock({ start: 0, clock: ["2031-10-26T02:30:00+02:00", ""] });
            setClock({ start: 1800, clock: ["2031-10-26T02:00:00+01:00", ""] });
            const told = [0, 60, 1801, 5400].map(time);
            setClock(null);
            return [...told, time(60)].join(" ");
        })()"""
    )
    assert told == "02:30:00 02:31:00 02:00:01 03:00:00 1:00"
