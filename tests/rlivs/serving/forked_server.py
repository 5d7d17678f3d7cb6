"""Lives of one server, each in a fork that is killed: what they have in common is loaded once.

python forked_server.py CHECKPOINT FILM MEMORY PORT

For each line on standard input a server begins that goes on with two streams of the film, and is killed with SIGKILL
when the next line comes.
"""

import os
import signal
import sys

import torch

from rlivs.backbones import load_backbone
from rlivs.config import PipelineConfig
from rlivs.memory.store import CaptionStore
from rlivs.serving.server import run_server
from rlivs.serving.settings import make_settings
from rlivs.streaming import StreamingVideoQA

torch.set_num_threads(1)
CONFIG = PipelineConfig(fps=8, frames_per_clip=2, max_caption_tokens=4, max_answer_tokens=6, memory_slots=3)


def serve(backbone, film, memory, port):
    with StreamingVideoQA(backbone, CaptionStore.open(memory), CONFIG) as engine:
        run_server(engine, make_settings(port=int(port)), [("left", film), ("right", film)])


def main(checkpoint, film, memory, port):
    backbone = load_backbone(checkpoint, device="cpu")
    print("loaded", flush=True)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            serve(backbone, film, memory, port)
            os._exit(0)
        sys.stdin.readline()
        os.kill(child, signal.SIGKILL)
        print("ended", os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
