"""A user message to token ids, by a checkpoint's own chat template."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

from rlivs.errors import InputError


class ChatTemplate:
    """One user message, alone or with one video, as token ids.

    The whole message is tokenised at once, as the model was trained, so special tokens in the user's text must be
    disarmed first: `<|im_end|>` becomes `< |im_end|>`, ordinary text that neither ends a turn nor poses as a video.
    """

    def __init__(
        self, tokenizer: Any, template: str, video_token: str, *, name: str, add_special_tokens: bool = False
    ) -> None:
        """`video_token` is what the template writes where the visual tokens go. Raises InputError if it never does."""
        self._tokenizer = tokenizer
        self._template = template
        self._name = name
        self._video_token = video_token
        self._video_id = tokenizer.convert_tokens_to_ids(video_token)
        self._add_special_tokens = add_special_tokens
        added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._special = sorted(added | {video_token, *tokenizer.all_special_tokens}, key=len, reverse=True)
        self.around_video("?")

    def disarm(self, text: str) -> str:
        """`text` with a space inside everything that would be read as a special token."""
        for token in self._special:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    def around_video(self, text: str) -> tuple[list[int], list[int]]:
        """Ids before and after the visual tokens in a message of a video and `text`, up to where the model speaks."""
        ids = self._encode([{"type": "video"}, {"type": "text", "text": self.disarm(text)}])
        if ids.count(self._video_id) != 1:
            raise InputError(
                f"the chat template of {self._name} does not write {self._video_token} once for a video; "
                "use the chat_template.jinja that belongs to the checkpoint's processor"
            )
        at = ids.index(self._video_id)
        return ids[:at], ids[at + 1 :]

    def alone(self, text: str) -> list[int]:
        """Ids of a message of `text` without a video, up to where the model speaks."""
        return self._encode([{"type": "text", "text": self.disarm(text)}])

    def _encode(self, content: list[dict[str, str]]) -> list[int]:
        try:
            rendered = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                chat_template=self._template,
                add_generation_prompt=True,
                tokenize=False,
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise InputError(
                f"the chat template of {self._name} fails on a message with a video ({error}); "
                "use the chat_template.jinja that belongs to the checkpoint's processor"
            ) from None
        return self._tokenizer(rendered, add_special_tokens=self._add_special_tokens).input_ids
