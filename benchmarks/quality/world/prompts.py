"""The prompt layouts the checkpoint is trained on."""

from __future__ import annotations

from collections.abc import Sequence

CAPTION_PROMPT = "Describe what's happening in the video."
VIDEO_TOKEN = "<video>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'video' %}{{ '<video>' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}"
    "{% if message['role'] != 'assistant' %}{{ '\\n' }}{% endif %}{{ part['text'] }}{% endfor %}"
    "{{ '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CAPTION_PREFIX = "<|im_start|>user "
CAPTION_SUFFIX = f"\n{CAPTION_PROMPT}<|im_end|><|im_start|>assistant\n"
ANSWER_HEAD = "<|im_start|>user \nThese are descriptions of a video, in order of time:\n"


def clock(seconds: float) -> str:
    """Time as m:ss, h:mm:ss from one hour."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def caption_line(start: float, end: float, text: str) -> str:
    """`[0:00-0:08] a red circle moves right.`"""
    return f"[{clock(start)}-{clock(end)}] {text}\n"


def answer_tail(question: str) -> str:
    """What follows the caption lines, up to where the answer starts."""
    return f"\nQuestion: {question}\nAnswer briefly.<|im_end|><|im_start|>assistant\n"


def answer_prompt(lines: Sequence[tuple[float, float, str]], question: str) -> str:
    """The whole prompt for a question about `(start, end, caption)` lines."""
    return ANSWER_HEAD + "".join(caption_line(*line) for line in lines) + answer_tail(question)
