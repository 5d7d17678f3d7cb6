"""Runs of `rlivs`, each in a fork that can be killed: what they import is imported once.

A line on standard input has the arguments of a run, which prints what the command prints, and "through" at its end. The
next line, "kill" or "wait", kills it with SIGKILL or lets it end by itself; then "ended STATUS" is printed.
"""

import os
import shlex
import signal
import sys

import torch
import transformers.models.llava_onevision.modeling_llava_onevision  # noqa: F401 - what a run would import

import rlivs.memory
import rlivs.streaming.session  # noqa: F401
from rlivs import cli

torch.set_num_threads(1)


def run(arguments):
    sys.argv = ["rlivs", *arguments]
    try:
        cli.main()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    print("through", flush=True)
    os._exit(code)


def main():
    print("loaded", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(shlex.split(line))
        if sys.stdin.readline().strip() == "kill":
            os.kill(child, signal.SIGKILL)
        print("ended", os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
