"""An RTSP camera for tests, a process of its own: RFC 2326 with RTP interleaved, for one viewer at a time.

python rtsp_camera.py PORT RATE

The pictures are those of publisher.py; FFmpeg's muxer makes the RTP packets, this hands them on.
"""

import socket
import sys
import threading
import time

import av
from publisher import SIDE, picture

DESCRIPTION = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=camera
t=0 0
a=control:*
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1
a=control:track1
""".replace("\n", "\r\n")


def encode_forever(port, rate):
    while True:
        try:
            encode(port, rate)
        except (av.FFmpegError, OSError) as error:
            print("the encoder begins again:", error, file=sys.stderr, flush=True)


def encode(port, rate):
    with av.open(f"rtp://127.0.0.1:{port}?pkt_size=1200", "w", format="rtp") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(max(1, rate // 2))}
        begin = time.monotonic()
        number = 0
        while True:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")):
                container.mux(packet)
            number += 1
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))


def read_request(connection):
    """Method and headers of the next request; None when the viewer has gone."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return None
        if not data and byte == b"$":  # the viewer's RTCP
            head = connection.recv(3)
            connection.recv(int.from_bytes(head[1:], "big"), socket.MSG_WAITALL)
            continue
        data += byte
    lines = data.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    return lines[0].split()[0], headers


def serve_viewer(connection, packets):
    while True:
        request = read_request(connection)
        if request is None:
            return
        method, headers = request
        reply, body = [f"CSeq: {headers['CSeq']}"], ""
        if method == "OPTIONS":
            reply.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = DESCRIPTION
            reply += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            reply += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
        else:
            reply.append("Session: 1")
        connection.sendall(("\r\n".join(["RTSP/1.0 200 OK", *reply]) + "\r\n\r\n" + body).encode())
        if method == "PLAY":
            while True:
                packet = packets.recv(2000)
                if 192 <= packet[1] <= 223:  # RTCP
                    continue
                connection.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)


def bind_pair():
    """Sockets for RTP and, one port above, the RTCP that goes with it: unread, but refusing it would end the sender."""
    while True:
        packets, reports = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        packets.bind(("127.0.0.1", 0))
        try:
            reports.bind(("127.0.0.1", packets.getsockname()[1] + 1))
            return packets, reports
        except (OSError, OverflowError):
            packets.close()
            reports.close()


def main(port, rate):
    packets, _reports = bind_pair()
    threading.Thread(target=encode_forever, args=(packets.getsockname()[1], rate), daemon=True).start()
    server = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = server.accept()
        try:
            with connection:
                serve_viewer(connection, packets)
        except OSError:
            pass  # the viewer went away; the next one may come


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
