"""All streams captioned side by side, clip by clip: the library's prompts, tap, selection and memory, batched.

At clip c every stream has the same number of memory slots, so prompts are equally long and need no padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import rlivs
import rlivs_kernels as rk
from benchmarks.quality.world.spread import uniform_columns
from rlivs.backbones import Backbone
from rlivs.backbones.protocol import VisualTokens
from rlivs.config import CAPTION_PROMPT
from rlivs.decoding import decode_text
from rlivs.memory.visual import SelectedTokens

from .footage import Footage
from .progress import steps

LONGEST = 40  # tokens of a caption


@dataclass(frozen=True)
class Policy:
    """One way of running the pipeline."""

    slots: int = 16
    select: str = "attention"  # attention, uniform, random, oracle, shifted (by one column, as the known defect does)
    evict: str = "fifo"  # fifo, semantic
    layers: str | tuple[int, ...] = "auto"
    mode: str = "deferred"
    last_prompt_row: bool = True
    keep: int = 16


@dataclass
class Run:
    """Captions and kept columns `[streams][clips]`, mean attention scores `[streams, clips, 256]`.

    With detail, `rows [clips][streams, conventions, layers, heads, 257]`: mean attention of the rows that produce the
    caption (convention 0) and of its own tokens' rows (1) to the column before the clip and to each of its columns.
    """

    captions: list[list[str]]
    kept: list[list[np.ndarray]]
    scores: np.ndarray
    detail: np.ndarray | None = None


@torch.no_grad()
def caption_streams(backbone: Backbone, footage: Footage, policy: Policy, detail: bool = False) -> Run:
    """Caption every clip of every stream under `policy`."""
    count, length = footage.tokens.shape[:2]
    captions: list[list[str]] = [[] for _ in range(count)]
    kept: list[list[np.ndarray]] = [[] for _ in range(count)]
    memory: list[list[SelectedTokens]] = [[] for _ in range(count)]
    scores, details = [], []
    with rlivs.patch(backbone.model, layers=policy.layers, mode=policy.mode) as tap:
        for clip in steps(range(length), f"captions, {policy.slots} slots, {policy.select}"):
            visual = [VisualTokens(footage.tokens[s, clip], backbone.grid) for s in range(count)]
            prompts = [backbone.caption_prompt(v, m, CAPTION_PROMPT) for v, m in zip(visual, memory, strict=True)]
            embeds = torch.cat([prompt.inputs_embeds for prompt in prompts])
            columns = prompts[0].columns
            with tap.clip(columns, policy.last_prompt_row, prompt_length=embeds.shape[1]):
                ids = backbone.model.generate(
                    inputs_embeds=embeds,
                    attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long),
                    max_new_tokens=LONGEST,
                    do_sample=False,
                )
                found = tap.scores(ids)
            scores.append(found.numpy())
            if detail or policy.select == "shifted":
                rows = attention_rows(backbone, embeds, ids, columns)
                details.append(rows)
                if policy.select == "shifted":
                    found = torch.from_numpy(rows[:, 0][:, list(tap.layers), :, :-1].mean(axis=(1, 2)))
            for s in range(count):
                captions[s].append(decode_text(backbone.tokenizer, ids[s].tolist()))
                chosen = choose(policy, footage, s, clip, found[s])
                kept[s].append(chosen.numpy())
                if policy.slots:
                    memory[s] = remember(memory[s], visual[s].select(clip, chosen), policy)
    found_detail = np.stack(details, 1) if details else None
    return Run(captions, kept, np.stack(scores, 1), found_detail)


def choose(policy: Policy, footage: Footage, stream: int, clip: int, scores: Tensor) -> Tensor:
    """The columns kept of a clip, ascending."""
    total = len(scores)
    if policy.select == "uniform":
        return uniform_columns(policy.keep, total)
    if policy.select == "random":
        rng = np.random.default_rng((*footage.streams[stream].seed, clip, 5))
        return torch.from_numpy(np.sort(rng.choice(total, policy.keep, replace=False)))
    if policy.select == "oracle":
        scores = torch.from_numpy(footage.cover[stream, clip]).float()
    return rk.select_top_tokens(scores[None].float(), policy.keep)[0]


def remember(memory: list[SelectedTokens], new: SelectedTokens, policy: Policy) -> list[SelectedTokens]:
    """Memory after a clip. Semantic eviction drops the older one of the two slots that are most alike."""
    memory = [*memory, new]
    if len(memory) <= policy.slots:
        return memory
    if policy.evict == "fifo":
        return memory[1:]
    means = torch.nn.functional.normalize(torch.stack([slot.embeddings.mean(0) for slot in memory]), dim=1)
    alike = (means @ means.T).tril(-1) - 2 * torch.ones(len(memory), len(memory)).triu()
    older = int(alike.argmax()) % len(memory)
    return [slot for index, slot in enumerate(memory) if index != older]


@torch.no_grad()
def attention_rows(backbone: Backbone, embeds: Tensor, ids: Tensor, columns: slice) -> np.ndarray:
    """Mean attention of a caption's rows by layer and head, `[B, 2, layers, heads, 257]`; see `Run.detail`.

    From one more pass with the caption given, so it needs the model's eager attention.
    """
    ends = torch.tensor(backbone.eos_token_ids)
    told = backbone.model.get_input_embeddings()(ids)
    start = embeds.shape[1]
    found = []
    for row in range(len(ids)):
        done = torch.isin(ids[row], ends).nonzero()
        length = int(done[0]) + 1 if len(done) else len(ids[row])
        sequence = torch.cat([embeds[row], told[row, : length - 1]])[None]
        out = backbone.model.model.language_model(inputs_embeds=sequence, output_attentions=True, use_cache=False)
        weights = torch.stack([layer[0] for layer in out.attentions])[..., columns.start - 1 : columns.stop]
        producing = weights[:, :, start - 1 : start - 1 + length].mean(2)
        own = weights[:, :, start : start + length - 1].mean(2)
        found.append(torch.stack([producing, own]))
    return torch.stack(found).numpy()
