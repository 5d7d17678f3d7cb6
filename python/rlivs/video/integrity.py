"""Whether a file is as long as its own structure says: what a broken-off copy or recording is not."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_MP4_TYPES = {b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"uuid"}
_EBML_ID, _SEGMENT_ID = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def container_family(path: Path) -> str | None:
    """The kind of video file the first bytes announce ("mp4", "Matroska", "AVI", "FLV"), None for others."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in _MP4_TYPES:
        return "mp4"
    if head[:4] == _EBML_ID:
        return "Matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    return "FLV" if head[:3] == b"FLV" else None


def stated_size(path: Path) -> int | None:
    """Bytes an mp4 or Matroska file has by its own structure; None where it does not say (live recordings).

    mp4: the end of the last top-level box (ISO/IEC 14496-12, 4.2). Matroska: the end of the Segment element
    (RFC 8794, 6.2; RFC 9559, 5.1).
    """
    family = container_family(path)
    with path.open("rb") as file:
        if family == "mp4":
            return _mp4_size(file, path.stat().st_size)
        return _matroska_size(file) if family == "Matroska" else None


def _mp4_size(file: BinaryIO, file_size: int) -> int | None:
    position = 0
    while position + 8 <= file_size:
        file.seek(position)
        header = file.read(16)
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:  # a 64-bit size follows
            size = int.from_bytes(header[8:16], "big")
        if size == 0 and kind in _MP4_TYPES:  # up to the end of the file
            return None
        if size < 8 or (kind not in _MP4_TYPES and position + size > file_size):
            break  # padding or junk after the last box is harmless
        position += size
    return position


def _matroska_size(file: BinaryIO) -> int | None:
    file.seek(len(_EBML_ID))
    header_size = _ebml_size(file)
    if header_size is None:
        return None
    file.seek(header_size, 1)
    if file.read(len(_SEGMENT_ID)) != _SEGMENT_ID:
        return None
    segment_size = _ebml_size(file)
    return None if segment_size is None else file.tell() + segment_size


def _ebml_size(file: BinaryIO) -> int | None:
    """An EBML variable-size integer: the zeros before the first one bit count the bytes that follow."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    following = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> following)]) + file.read(following), "big")
    unknown = (1 << 7 * (following + 1)) - 1  # all ones: a recording whose end was not known yet
    return None if value == unknown else value
