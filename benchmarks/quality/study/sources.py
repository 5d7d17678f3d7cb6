"""The same questions about a clip, answered from its caption, from its kept tokens, or from both."""

from __future__ import annotations

import torch

from benchmarks.quality.world.prompts import clock
from rlivs.backbones.protocol import VisualTokens
from rlivs.streaming.answering import caption_line

from .answers import Encoder, clip_answers, list_prompt, prompt_answers
from .intervals import SHARE_COLUMNS, Share
from .lab import Lab
from .tables import Table


def sources(lab: Lab) -> list[Table]:
    """The last clip is asked about. From both: the kept tokens as the video of a prompt that lists the caption."""
    table = Table("sources", "Questions about one clip, by what they are answered from", ("from", *SHARE_COLUMNS))
    encoder = Encoder(lab.backbone)
    visual, _ = lab.keep("attention", lab.plan.six_percent, lab.scores())
    right, _ = clip_answers(lab.backbone, visual, lab.asks)
    everything, _ = lab.keep("attention", lab.footage.tokens.shape[2], lab.scores())
    full, _ = clip_answers(lab.backbone, everything, lab.asks)
    captions, both, answers = [], [], []
    for (s, c), questions, kept in zip(lab.clips, lab.asked, visual, strict=True):
        start, end = c * 8.0, c * 8.0 + 8
        lines = [caption_line(start, end, lab.run.captions[s][c])]
        for question in questions:
            text = f"{question.text[:-1]} at {clock(start)}?"
            captions.append(list_prompt(lab.backbone, lab.config.answer_prompt, lines, text))
            asked = lab.config.answer_prompt.format(captions="\n".join(lines), question=text)
            prompt = lab.backbone.caption_prompt(VisualTokens(kept, lab.backbone.grid), (), asked)
            both.append(prompt.inputs_embeds[0])
            answers.append(encoder.answer(question.answer))
    from_captions, _ = prompt_answers(lab.backbone, captions, answers, "answers from captions")
    from_both, _ = prompt_answers(lab.backbone, both, answers, "answers from both")
    table.add("the clip's caption", *Share.of(from_captions).cells())
    table.add("its kept tokens (6 %)", *Share.of(hit for clip in right for hit in clip).cells())
    table.add("caption and kept tokens", *Share.of(from_both).cells())
    table.add("all its tokens", *Share.of(hit for clip in full for hit in clip).cells())
    remembered = _from_memory(lab)
    table.rows += remembered
    return [table]


def _from_memory(lab: Lab) -> list[list[str]]:
    """Questions about the past answered from the tokens in visual memory alone, 16 slots, as in the paper's row."""
    encoder = Encoder(lab.backbone)
    prompts, answers = [], []
    for stream, question in lab.listed:
        ended = round(question.at / 8)
        slots = [
            lab.footage.tokens[stream, clip][torch.from_numpy(lab.run.kept[stream][clip])]
            for clip in range(max(0, ended - 16), ended)
        ]
        prompt = lab.backbone.caption_prompt(VisualTokens(torch.cat(slots), lab.backbone.grid), (), question.text)
        prompts.append(prompt.inputs_embeds[0])
        answers.append(encoder.answer(question.answer))
    hits, _ = prompt_answers(lab.backbone, prompts, answers, "answers from visual memory")
    return [["questions about the past: visual memory", *Share.of(hits).cells()]]
