"""A camera for tests, a process of its own: sends pictures of a moving square at a steady pace until it is killed.

python publisher.py ADDRESS FORMAT RATE
"""

import sys
import time

import av
import numpy as np

SIDE = 64
OPTIONS = {
    "rtsp": {"rtsp_transport": "tcp"},
    "hls": {"hls_time": "0.5", "hls_list_size": "20", "hls_flags": "delete_segments"},
}


def picture(number):
    """Mid-grey, with a white square whose place tells `number` modulo 16."""
    image = np.full((SIDE, SIDE, 3), 90, np.uint8)
    top, left = divmod(number % 16, 4)
    image[16 * top : 16 * top + 16, 16 * left : 16 * left + 16] = 250
    return image


def publish(address, form, rate):
    options = OPTIONS.get(form, {})
    with av.open(address, "w", format=form, options=options) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        # A key frame every half second, with the headers a receiver that joins late needs.
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(max(1, rate // 2))}
        begin = time.monotonic()
        number = 0
        while True:
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
            number += 1
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))


def publish_to_whoever_listens(address, form, rate):
    """As cameras do: where nobody takes the pictures yet, try again."""
    while True:
        try:
            publish(address, form, rate)
        except (av.FFmpegError, OSError):
            time.sleep(0.05)


if __name__ == "__main__":
    publish_to_whoever_listens(sys.argv[1], sys.argv[2], int(sys.argv[3]))
