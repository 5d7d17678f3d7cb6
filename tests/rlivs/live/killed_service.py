"""Lives of one service, each in a fork that is killed: what they have in common is loaded once.

python killed_service.py CHECKPOINT FILM MEMORY

For each line on standard input a fork begins that continues two streams. It prints "caption STREAM INDEX TEXT" (with
the text as hexadecimal bytes) once a caption is announced, "answer" for each answer, "through" at the end. It is killed
with SIGKILL when the next line comes; after the line "finish" it ends by itself. "ended STATUS" says so.
"""

import os
import signal
import sys
import threading

import torch

from rlivs.backbones import load_backbone
from rlivs.config import PipelineConfig
from rlivs.memory.store import CaptionStore
from rlivs.streaming import StreamingVideoQA
from rlivs.streaming.service import StreamService
from rlivs.video.live import open_source

torch.set_num_threads(1)
STREAMS = ("left", "right")
CONFIG = PipelineConfig(fps=8, frames_per_clip=2, max_caption_tokens=4, max_answer_tokens=6, memory_slots=3)


def say(*words):
    """In one write, so that lines of several threads stay apart."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def live(backbone, film, memory):
    service = StreamService(StreamingVideoQA(backbone, CaptionStore.open(memory), CONFIG))

    def follow(stream):
        after = max((entry.serial for entry in service._engine.store.log(stream)), default=-1)
        following = service.subscribe(stream, after)
        service.attach(stream, open_source(film))
        while True:
            event = following.get(timeout=0.05)
            if event is not None and event.kind == "caption":
                say("caption", stream, event.data["index"], event.data["text"].encode().hex())
            if event is None and service.status(stream).state == "ended":
                return

    def ask(stream):
        while True:
            try:
                service.ask(stream, "What is red?", answer_from="auto")
            except Exception:
                continue  # nothing has come yet
            say("answer")

    known = {info.stream for info in service._engine.store.streams()}
    for stream in STREAMS:
        service.create(stream, source=film, resume=stream in known)
    threads = [threading.Thread(target=follow, args=(stream,)) for stream in STREAMS]
    for thread in threads:
        thread.start()
    threading.Thread(target=ask, args=("left",), daemon=True).start()
    for thread in threads:
        thread.join()


def main(checkpoint, film, memory):
    backbone = load_backbone(checkpoint, device="cpu")
    say("loaded")
    for order in sys.stdin:
        child = os.fork()
        if child == 0:
            live(backbone, film, memory)
            say("through")
            os._exit(0)
        say("begun")
        if order.strip() != "finish":
            sys.stdin.readline()
            os.kill(child, signal.SIGKILL)
        say("ended", os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
