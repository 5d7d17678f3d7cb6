"""Chat templates that several families share."""

from __future__ import annotations

from families.family import TEXT

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} "
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}<video>{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ '\\n' + part['text'] }}{% endif %}"
    "{% endfor %}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def spell_chatml(video: str) -> str:
    return f"<|im_start|>user {video}\n{TEXT}<|im_end|><|im_start|>assistant\n"
