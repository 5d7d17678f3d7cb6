"""One token a word, and no text of the world is changed by a round trip."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from transformers import AutoTokenizer

from benchmarks.quality.make_demo import ASSETS
from benchmarks.quality.world import grammar, prompts, questions, scenes, tokens
from benchmarks.quality.world.grammar import COLOURS, MOTIONS, SHAPES, Thing


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(ASSETS / "tiny-onevision", local_files_only=True)


def test_the_shipped_tokenizer_is_the_one_the_world_builds(tokenizer):
    assert tokenizer.get_vocab() == tokens.build().get_vocab()
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token == "<|endoftext|>"


def test_captions_survive(tokenizer):
    unknown = tokenizer.unk_token_id
    for parts in product(COLOURS, SHAPES, MOTIONS):
        text = grammar.caption((Thing(*parts),))
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert unknown not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_whole_prompts_survive(tokenizer):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        lines = questions.sample_lines(rng, int(rng.integers(1, 20)), scenes.sample_things)
        for kind in questions.KINDS:
            question = questions.sample_question(rng, lines, kind)
            if question is None:
                continue
            rows = [(line.start, line.end, line.text) for line in lines]
            text = prompts.answer_prompt(rows, question.text) + question.answer
            ids = tokenizer(text, add_special_tokens=False).input_ids
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == text


def test_digits_are_single_tokens_and_unknown_words_are_unknown(tokenizer):
    assert tokenizer.tokenize("12:34") == ["1", "2", ":", "3", "4"]
    assert tokenizer("zebra", add_special_tokens=False).input_ids == [tokenizer.unk_token_id]


def test_the_chat_template_gives_the_prompt_layouts(tokenizer):
    def rendered(content):
        return tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )

    text = {"type": "text", "text": prompts.CAPTION_PROMPT}
    before, after = rendered([{"type": "video"}, text]).split(prompts.VIDEO_TOKEN)
    assert (before, after) == (prompts.CAPTION_PREFIX, prompts.CAPTION_SUFFIX)
    rows = [(0, 8, "a red circle moves right."), (3600, 3608, "a blue star stays still.")]
    asked = (
        "These are descriptions of a video, in order of time:\n[0:00-0:08] a red circle moves right.\n"
        "[1:00:00-1:00:08] a blue star stays still.\n\nQuestion: What happened at 0:00?\nAnswer briefly."
    )
    assert rendered([{"type": "text", "text": asked}]) == prompts.answer_prompt(rows, "What happened at 0:00?")
