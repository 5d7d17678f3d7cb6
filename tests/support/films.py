"""Films made for tests."""

import av
import numpy as np


def write_film(path, seconds=9, fps=4, side=96):
    """An H.264 film of a red square moving right; returns its path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for index in range(seconds * fps):
            image = np.full((side, side, 3), 110, np.uint8)
            left = (3 * index) % (side - 28)
            image[36:60, left : left + 24] = (210, 40, 40)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
