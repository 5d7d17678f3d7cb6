"""A model of random weights, films, and cameras that are processes of their own."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from films import write_film
from tiny_models import load_tiny_backbone

from rlivs.config import PipelineConfig
from rlivs.memory.store import CaptionStore
from rlivs.streaming import StreamingVideoQA
from rlivs.streaming.service import StreamService

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    return load_tiny_backbone(tmp_path_factory.mktemp("checkpoint") / "model", "llava_onevision")


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """9 s at 7 frames a second: at 4 samples a second nine clips of 4 samples."""
    return str(write_film(tmp_path_factory.mktemp("film") / "film.mp4", fps=7))


@pytest.fixture
def config():
    return PipelineConfig(fps=4, frames_per_clip=4, max_caption_tokens=6, max_answer_tokens=8, memory_slots=3)


@pytest.fixture
def make_engine(backbone, config):
    """Engines on the one loaded model; each is closed before the next, so that the model is handed on untapped."""
    engines = []

    def make(memory=":memory:", **options):
        for engine in engines:
            engine.close()
        engines[:] = [StreamingVideoQA(backbone, CaptionStore.open(memory), config.model_copy(update=options))]
        return engines[0]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def make_service(make_engine):
    """Services, each with an engine of its own; the one before is closed first."""
    services = []

    def make(memory=":memory:", retention=None, **options):
        while services:
            services.pop().close()
        services.append(StreamService(make_engine(memory, **options), retention=retention))
        return services[0]

    yield make
    while services:
        services.pop().close()


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def start_process():
    """Starts a script beside this file; what still runs at the end is killed."""
    processes = []

    def start(script, *arguments, **options):
        command = [sys.executable, "-u", str(HERE / script), *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        processes.append(subprocess.Popen(command, env=environment, **options))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def in_thread():
    """Runs functions in threads; what one raised is raised at the end."""
    threads, errors = [], []

    def start(function, *arguments):
        def run():
            try:
                function(*arguments)
            except BaseException as error:
                errors.append(error)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return threads[-1]

    yield start
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
