"""What the checkpoint is worth on scenes it never saw: `python -m benchmarks.quality.evaluate [DIRECTORY]`.

Clips are rendered at 256 x 256, encoded to H.264, decoded, sampled at 2 frames a second and resized the way the
pipeline does it. Captions are compared letter by letter; so are answers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, LlavaOnevisionForConditionalGeneration

from .make_demo import ASSETS, CLIP_SECONDS, FRAME_RATE, FRAMES_PER_CLIP, SAMPLED_FPS, SIDE
from .train.model import FRAME_SIZE, KEPT_TOKENS, MEMORY_SLOTS, TOKENS_PER_FRAME, visual_tokens
from .video import Take, read_frames, shrink, write_video
from .world import grammar, prompts, questions, scenes
from .world.render import covered_cells

SEED = 2_000_003  # far from the training seeds


@dataclass
class Clip:
    """One decoded clip: its things, its visual tokens `[256, hidden]`, and which of them lie on a thing `[256]`."""

    things: tuple[grammar.Thing, ...]
    tokens: Tensor
    on_thing: np.ndarray


def load(directory: Path) -> tuple[LlavaOnevisionForConditionalGeneration, AutoTokenizer]:
    """The checkpoint in float32 with eager attention (its weights are read for the attention shares)."""
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(directory, attn_implementation="eager")
    return model.float().eval(), AutoTokenizer.from_pretrained(directory)


@torch.no_grad()
def decoded_clips(model: nn.Module, count: int, things: int, seed: int = SEED) -> list[Clip]:
    """`count` unseen clips that went through H.264, as the model sees them."""
    rng = np.random.default_rng((seed, things))
    takes = [
        Take(scenes.sample_scene(rng, scenes.sample_things(rng, things), travel=(0.25, 0.6)), CLIP_SECONDS)
        for _ in range(count)
    ]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "clips.mp4"
        write_video(path, takes, side=SIDE, rate=FRAME_RATE)
        frames = shrink(read_frames(path, every=round(FRAME_RATE / SAMPLED_FPS)), FRAME_SIZE)
    progress = np.arange(FRAMES_PER_CLIP) / FRAMES_PER_CLIP
    clips = []
    for index, take in enumerate(takes):
        part = frames[index * FRAMES_PER_CLIP : (index + 1) * FRAMES_PER_CLIP]
        tokens = visual_tokens(model, part).reshape(FRAMES_PER_CLIP * TOKENS_PER_FRAME, -1)
        covered = covered_cells(take.scene, progress).max(axis=1).reshape(-1) > 0.02
        clips.append(Clip(take.scene.things, tokens, covered))
    return clips


def ids_of(tokenizer, text: str) -> Tensor:
    return tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids[0]


@torch.no_grad()
def greedy(model: nn.Module, tokenizer, prompt: Tensor, limit: int = 40) -> str:
    """Greedy continuation of a prompt `[length, hidden]`."""
    new = model.generate(
        inputs_embeds=prompt[None],
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=limit,
        do_sample=False,
    )
    return tokenizer.decode(new[0], skip_special_tokens=True)


def caption_prompt(model: nn.Module, tokenizer, clip: Tensor, memory: list[Tensor]) -> tuple[Tensor, int]:
    """The prompt's embeddings, and the column where the clip starts."""
    embed, newline = model.get_input_embeddings(), model.model.image_newline[None]
    parts = [embed(ids_of(tokenizer, prompts.CAPTION_PREFIX))]
    if memory:
        parts += [*memory, newline]
    start = sum(len(part) for part in parts)
    parts += [clip, newline, embed(ids_of(tokenizer, prompts.CAPTION_SUFFIX))]
    return torch.cat(parts), start


@torch.no_grad()
def attention_columns(model: nn.Module, tokenizer, prompt: Tensor, text: str) -> list[Tensor]:
    """Attention of the rows that produce the caption to every prompt column, mean over heads, for each layer."""
    told = model.get_input_embeddings()(ids_of(tokenizer, text))
    out = model.model.language_model(inputs_embeds=torch.cat([prompt, told])[None], output_attentions=True)
    return [layer[0, :, len(prompt) - 1 :, : len(prompt)].mean(dim=(0, 1)) for layer in out.attentions]


@torch.no_grad()
def stream(model: nn.Module, tokenizer, clips: list[Clip]) -> dict:
    """Caption clips one after the other, each with the tokens that attention chose in the 16 clips before it."""
    slots: list[Tensor] = []
    exact, exact_full, shares, layer_shares, chance, misses = [], [], [], [], [], []
    for clip in clips:
        prompt, start = caption_prompt(model, tokenizer, clip.tokens, slots)
        told = greedy(model, tokenizer, prompt)
        want = grammar.caption(clip.things)
        exact.append(told == want)
        if len(slots) == MEMORY_SLOTS:
            exact_full.append(told == want)
        if told != want and len(misses) < 8:
            misses.append({"want": want, "told": told})
        stop = start + len(clip.tokens)
        layers = [c[start:stop] for c in attention_columns(model, tokenizer, prompt, told)]
        kept = [x.topk(KEPT_TOKENS).indices.sort().values.numpy() for x in (*layers, sum(layers))]
        layer_shares.append([clip.on_thing[k].mean() for k in kept[:-1]])
        shares.append(clip.on_thing[kept[-1]].mean())
        chance.append(clip.on_thing.mean())
        slots = [*slots, clip.tokens[kept[-1]]][-MEMORY_SLOTS:]
    return {
        "clips": len(clips),
        "exact": float(np.mean(exact)),
        "exact_with_full_memory": float(np.mean(exact_full)) if exact_full else None,
        "top16_on_things": float(np.mean(shares)),
        "top16_on_things_by_layer": [float(x) for x in np.mean(layer_shares, axis=0)],
        "chance": float(np.mean(chance)),
        "misses": misses,
    }


@torch.no_grad()
def without_memory(model: nn.Module, tokenizer, clips: list[Clip]) -> dict:
    """Caption every clip on its own."""
    told = [greedy(model, tokenizer, caption_prompt(model, tokenizer, c.tokens, [])[0]) for c in clips]
    right = [a == grammar.caption(c.things) for a, c in zip(told, clips, strict=True)]
    return {"clips": len(clips), "exact": float(np.mean(right))}


@torch.no_grad()
def answers(model: nn.Module, tokenizer, count: int, lines: tuple[int, int], seed: int = SEED) -> dict:
    """Share of questions answered exactly, for each kind, about `count` lists of captions."""
    hits: dict[str, list[bool]] = {}
    misses = []
    for index in range(count):
        rng = np.random.default_rng((seed, 7, index))
        listed = questions.sample_lines(rng, int(rng.integers(lines[0], lines[1] + 1)), scenes.sample_things)
        rows = [(line.start, line.end, line.text) for line in listed]
        for kind in questions.KINDS:
            question = questions.sample_question(rng, listed, kind)
            if question is None:
                continue
            prompt = ids_of(tokenizer, prompts.answer_prompt(rows, question.text))
            told = greedy(model, tokenizer, model.get_input_embeddings()(prompt))
            hits.setdefault(kind, []).append(told == question.answer)
            if told != question.answer and len(misses) < 8:
                misses.append({"question": question.text, "want": question.answer, "told": told})
    shares = {kind: {"asked": len(v), "exact": float(np.mean(v))} for kind, v in hits.items()}
    return {**shares, "misses": misses}


def evaluate(directory: Path, clips: int, lists: int) -> dict:
    """Every figure of the checkpoint."""
    model, tokenizer = load(directory)
    found: dict = {}
    shown: list[Clip] = []
    for name, things in (("one_thing", 1), ("two_things", 2)):
        unseen = decoded_clips(model, clips, things)
        shown += unseen
        found[name] = {"no_memory": without_memory(model, tokenizer, unseen)}
    order = np.random.default_rng(SEED).permutation(len(shown))
    found["stream"] = stream(model, tokenizer, [shown[i] for i in order])
    found["answers_1_to_10_lines"] = answers(model, tokenizer, lists, (1, 10))
    found["answers_20_to_30_lines"] = answers(model, tokenizer, lists, (20, 30))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="?", default=ASSETS / "tiny-onevision")
    parser.add_argument("--clips", type=int, default=100, help="clips with one thing, and as many with two")
    parser.add_argument("--lists", type=int, default=60, help="lists of captions for the questions")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(json.dumps(evaluate(arguments.directory, arguments.clips, arguments.lists), indent=2))


if __name__ == "__main__":
    main()
