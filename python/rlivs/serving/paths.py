"""Which files a client may make the server read."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rlivs.serving.refusals import Refusal

# What FFmpeg takes for a list of further files and addresses, whatever the file is called.
_LISTS = (b"#EXTM3U", b"ffconcat", b"v=0", b"<?xml", b"<MPD", b"[playlist]", b"[Reference]")


def check_path(text: str, roots: Sequence[Path]) -> Path:
    """The real path of a video file under one of `roots` (directories, themselves real paths).

    A relative path is looked for under each root. Links are followed before the path is judged. Raises Refusal; a file
    outside the roots reads like one that does not exist, so that nobody can ask what there is.
    """
    if not roots:
        raise Refusal("files are not allowed here; the server is started with --root FOLDER to allow a folder's")
    missing = Refusal("there is no such video under the allowed folders", 404, "unknown_file")
    if not text or "\x00" in text or len(text) > 4096:
        raise missing
    for root in roots:
        try:
            path = Path(os.path.realpath(root / text))
            if not path.is_relative_to(root) or not stat.S_ISREG(path.stat().st_mode):
                continue
            with path.open("rb") as file:
                head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
        except (OSError, ValueError, UnicodeError):
            continue
        if head.startswith(_LISTS):
            raise Refusal("the file is a list of other files or addresses, not a video")
        return path
    raise missing


def path_of_file_url(url: str) -> str:
    """The path in a `file://` address of this machine. Raises Refusal for another machine's."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise Refusal("write file addresses as file:///path/to/video.mp4")
    return unquote(parts.path)
