"""A word-level tokenizer: every word, sign, digit and line break is one token, and text survives exactly."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from . import grammar, prompts, questions

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>", "<unk>")
SIGNS = (" ", "\n", ".", ",", ":", ";", "-", "?", "!", "[", "]", "(", ")", "'", '"', "/")
PATTERN = r" ?[A-Za-z][A-Za-z']*|\d|[^A-Za-z\d]"
EXTRA_WORDS = (
    "a an the and at no yes is was did what when which where how many who in on of to after before "
    "then user assistant system video image picture clip frame colour shape thing something nothing "
    "first last next two one appear appeared happen happened happening move moves moved moving stay "
    "stays stayed still left right up down"
)


def words() -> list[str]:
    """Every word of captions, questions and prompts, sorted."""
    text = " ".join(
        [
            prompts.CAPTION_PROMPT,
            prompts.ANSWER_HEAD.replace("<|im_start|>", " "),
            prompts.answer_tail("").replace("<|im_end|>", " ").replace("<|im_start|>", " "),
            *grammar.COLOURS,
            *grammar.SHAPES,
            *grammar.MOTIONS,
            *grammar.PAST.values(),
            *questions.WORDS,
            EXTRA_WORDS,
        ]
    )
    found = {"".join(c for c in word if c.isalpha() or c == "'") for word in text.split()}
    return sorted(word for word in found if word)


def build() -> Tokenizer:
    """The tokenizer; a word has one token with its space before it and one without."""
    vocabulary = [*SPECIAL, *SIGNS, *"0123456789"]
    for word in words():
        vocabulary += [word, f" {word}"]
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def save(directory: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    directory.mkdir(parents=True, exist_ok=True)
    build().save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<unk>",
        "image_token": "<image>",
        "video_token": "<video>",
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (directory / "chat_template.jinja").write_text(prompts.CHAT_TEMPLATE)
