"""Live streams whose moments are told by the wall clock."""

import time
from datetime import datetime

import pytest
from hand_camera import Camera, run_of
from live_following import captions_until, wait_for_state

from rlivs.errors import InputError

pytestmark = pytest.mark.usefixtures("berlin")


def test_a_camera_by_the_clock(make_service, tmp_path):
    memory = tmp_path / "captions.db"
    service = make_service(memory, clock=True)
    assert service.create("door").epoch is None  # until the first frame
    camera = Camera()
    before = time.time()
    service.attach("door", camera)
    camera.send(*run_of(0, 2))
    camera.close()
    [first, _] = captions_until(service.subscribe("door"), 2)
    wait_for_state(service, "door", "ended")
    epoch = service.status("door").epoch
    assert before <= epoch <= time.time()
    assert [datetime.fromisoformat(moment).timestamp() for moment in first["clock"]] == [int(epoch), int(epoch + 1)]
    answer = service.ask("door", "Who came today?")
    assert [cited.index for cited in answer.citations] == [0, 1] and answer.clock.epoch == epoch

    # The clock belongs to the stream: it stays when it is continued, asked for again or not.
    service = make_service(memory)
    assert service.create("door", resume=True).epoch == epoch


def test_what_began_without_a_clock_goes_on_without(make_service, tmp_path):
    memory = tmp_path / "captions.db"
    service = make_service(memory)
    service.create("door")
    service.create("film")
    camera = Camera()
    service.attach("door", camera)
    camera.send(*run_of(0, 1))
    camera.close()
    [caption] = captions_until(service.subscribe("door"), 1)
    assert "clock" not in caption and service.status("door").epoch is None
    service = make_service(memory, clock=True)
    with pytest.raises(InputError, match="counts its moments from second 0"):
        service.create("door", resume=True)
    assert service.create("film", resume=True).epoch is None  # which has none that could be asked for


def test_pushed_frames_come_now(make_service):
    service = make_service(clock=True)
    service.create("desk")
    before = time.time()
    for frame in run_of(100, 103):
        service.push("desk", frame.image, frame.time)
    [caption, _] = captions_until(service.subscribe("desk"), 2)
    epoch = service.status("desk").epoch
    assert before <= epoch + 100 <= time.time()
    assert caption["clock"][0] == datetime.fromtimestamp(int(epoch + caption["start"])).astimezone().isoformat()


@pytest.mark.parametrize("moment", [float("nan"), -1e9, 1e9])
def test_times_that_cannot_be(make_service, moment):
    service = make_service(clock=True)
    service.create("desk")
    with pytest.raises(InputError, match="cannot follow"):
        service.push("desk", run_of(0, 1)[0].image, moment)
    assert service.status("desk").epoch is None
