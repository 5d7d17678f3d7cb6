"""The loop: clips to captions and memory; questions to answers."""

from rlivs.streaming.answering import Answer
from rlivs.streaming.captioning import CaptionedClip
from rlivs.streaming.engine import StreamingVideoQA
from rlivs.streaming.session import Session

__all__ = ["Answer", "CaptionedClip", "Session", "StreamingVideoQA"]
