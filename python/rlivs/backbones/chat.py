"""A user message to token ids, by a checkpoint's own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from rlivs.errors import InputError


class ChatTemplate:
    """One user message, alone or with one video, as token ids.

    The whole message is tokenised at once, as the model was trained, so special tokens in the user's text must be
    disarmed first: `<|im_end|>` becomes `< |im_end|>`, ordinary text that neither ends a turn nor poses as a video.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: str,
        placeholder: str,
        *,
        name: str,
        reserved: Sequence[str] = (),
        add_special_tokens: bool = False,
    ) -> None:
        """`placeholder` is what the template writes for a video; `reserved` is more text that no user may write.

        Raises InputError if the template does not write the placeholder once.
        """
        self._tokenizer = tokenizer
        self._template = template
        self._placeholder = placeholder
        self._name = name
        self._add_special_tokens = add_special_tokens
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        special |= {placeholder, *reserved, *tokenizer.all_special_tokens}
        self._special = sorted(special, key=len, reverse=True)
        self.with_video("?", placeholder)

    def disarm(self, text: str) -> str:
        """`text` with a space inside everything that would be read as a special token."""
        for token in self._special:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    def with_video(self, text: str, video: str) -> list[int]:
        """Ids of a message of a video, which is written as `video`, and `text`, up to where the model speaks."""
        rendered = self._render([{"type": "video"}, {"type": "text", "text": self.disarm(text)}])
        if rendered.count(self._placeholder) != 1:
            raise InputError(
                f"the chat template of {self._name} does not write {self._placeholder} once for a video; "
                "use the chat_template.jinja that belongs to the checkpoint's processor"
            )
        return self._encode(rendered.replace(self._placeholder, video))

    def around_video(self, text: str) -> tuple[list[int], list[int]]:
        """Ids before and after the placeholder, where that is one token, in a message of a video and `text`."""
        ids = self.with_video(text, self._placeholder)
        at = ids.index(self._tokenizer.convert_tokens_to_ids(self._placeholder))
        return ids[:at], ids[at + 1 :]

    def alone(self, text: str) -> list[int]:
        """Ids of a message of `text` without a video, up to where the model speaks."""
        return self._encode(self._render([{"type": "text", "text": self.disarm(text)}]))

    def _render(self, content: list[dict[str, str]]) -> str:
        try:
            return self._tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                chat_template=self._template,
                add_generation_prompt=True,
                tokenize=False,
                # Templates of models that may reason aloud first know this name; a clip has no time for it.
                enable_thinking=False,
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise InputError(
                f"the chat template of {self._name} fails on a message with a video ({error}); "
                "use the chat_template.jinja that belongs to the checkpoint's processor"
            ) from None

    def _encode(self, rendered: str) -> list[int]:
        # A template may write the beginning-of-sequence token itself.
        begun = self._tokenizer.bos_token is not None and rendered.startswith(self._tokenizer.bos_token)
        return self._tokenizer(rendered, add_special_tokens=self._add_special_tokens and not begun).input_ids
