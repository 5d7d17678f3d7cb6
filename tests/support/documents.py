"""Running what the documents say, beside a short film named as they name it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "python" / "rlivs" / "assets" / "demo" / "demo.mp4"


def run(line, **options):
    """A line of a document in the shell, with the `rlivs` that is tested."""
    command = line.replace("rlivs ", f"{sys.executable} -m rlivs.cli ", 1)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, **options)


def cut_film(path, seconds):
    """The first seconds of the demo's film."""
    import av

    with av.open(str(DEMO)) as source, av.open(str(path), "w") as target:
        picture = source.streams.video[0]
        stream = target.add_stream_from_template(picture)
        for packet in source.demux(picture):
            if packet.dts is None or packet.pts * packet.time_base >= seconds:
                break
            packet.stream = stream
            target.mux(packet)
    return path
