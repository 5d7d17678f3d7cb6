"""Three streams in one left-padded batch: the captions and scores of three runs of one."""

import numpy as np
import pytest
import torch
from families import FAMILIES, qwen
from families.family import FRAME, TEXT
from tiny_models import load_tiny_backbone
from transformers import DynamicCache

from rlivs.backbones import qwen2_vl
from rlivs.decoding import generate_greedily
from rlivs.scoring import patch
from rlivs_kernels import select_top_tokens

NEW_TOKENS = 10
# Remembered slots of the three streams: none, the same number, and each another (so that padding differs).
MEMORIES = {"empty": (0, 0, 0), "full": (4, 4, 4), "mixed": (4, 0, 2)}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def backbone(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(qwen2_vl, "TOKENS_PER_FRAME", qwen.TOKENS_PER_FRAME)
        yield load_tiny_backbone(tmp_path_factory.mktemp(request.param), request.param)


def encode(backbone, seed):
    frames = np.random.default_rng(seed).integers(0, 256, (4, *FRAME, 3), dtype=np.uint8)
    return backbone.encode(frames, tuple(index / 2 for index in range(4)))


def prompt_of(backbone, stream, slots):
    clips = [encode(backbone, 10 * stream + index) for index in range(1 + slots)]
    memory = [clip.select(index, torch.tensor([0, 2, 5 + stream])) for index, clip in enumerate(clips[1:])]
    return backbone.caption_prompt(clips[0], memory, TEXT)


def padded(prompts):
    """One batch of what the language model is fed for each prompt, padded on the left."""
    length = max(prompt.length for prompt in prompts)
    rows: dict[str, list[torch.Tensor]] = {}
    deepstack = []
    for prompt in prompts:
        before = length - prompt.length
        inputs = prompt.inputs(0, prompt.length)
        deepstack.append(inputs.get("deepstack_visual_embeds"))
        row = {
            "inputs_embeds": torch.nn.functional.pad(inputs["inputs_embeds"], (0, 0, before, 0), value=7.0),
            "position_ids": torch.nn.functional.pad(inputs["position_ids"], (before, 0)),
            "attention_mask": torch.nn.functional.pad(torch.ones(1, prompt.length, dtype=torch.long), (before, 0)),
        }
        if "visual_pos_masks" in inputs:
            row["visual_pos_masks"] = torch.nn.functional.pad(inputs["visual_pos_masks"], (before, 0))
        if "per_layer_inputs" in inputs:
            padding = (0, 0, 0, 0, before, 0)
            row["per_layer_inputs"] = torch.nn.functional.pad(inputs["per_layer_inputs"], padding, value=7.0)
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    batch = {name: torch.cat(values, dim=-2 if name == "position_ids" else 0) for name, values in rows.items()}
    if deepstack[0] is not None:
        batch["deepstack_visual_embeds"] = [torch.cat(level) for level in zip(*deepstack, strict=True)]
    columns = [
        slice(length - prompt.length + prompt.columns.start, length - prompt.length + prompt.columns.stop)
        for prompt in prompts
    ]
    return batch, columns, length


@torch.no_grad()
def decode(backbone, prompts, batch):
    """Greedy ids `[B, NEW_TOKENS]`."""
    decoder, head = backbone.model.get_decoder(), backbone.model.get_output_embeddings()
    cache = DynamicCache(config=decoder.config)
    mask = batch["attention_mask"]
    hidden = decoder(**batch, past_key_values=cache, use_cache=True).last_hidden_state
    position = torch.cat([prompt.next_position() for prompt in prompts], dim=-2)
    ids = [head(hidden[:, -1:]).argmax(-1)]
    for _ in range(NEW_TOKENS - 1):
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
        hidden = decoder(
            input_ids=ids[-1], attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
        ).last_hidden_state
        position = position + 1
        ids.append(head(hidden[:, -1:]).argmax(-1))
    return torch.cat(ids, 1)


@pytest.mark.parametrize("memory", sorted(MEMORIES))
@pytest.mark.parametrize("mode", ["deferred", "fused"])
def test_three_streams_at_once_are_three_runs_of_one(backbone, memory, mode, monkeypatch):
    monkeypatch.setattr(backbone, "eos_token_ids", ())
    monkeypatch.setattr(backbone.model.generation_config, "eos_token_id", None)
    prompts = [prompt_of(backbone, stream, slots) for stream, slots in enumerate(MEMORIES[memory], start=1)]
    with patch(backbone.model, mode=mode, layers="all") as handle:
        texts, scores = [], []
        for prompt in prompts:
            with handle.clip(prompt.columns, prompt_length=prompt.length):
                texts.append(generate_greedily(backbone, prompt, NEW_TOKENS))
                scores.append(prompt.visual_scores(handle.scores(texts[-1])))
        batch, columns, length = padded(prompts)
        assert (batch["attention_mask"].sum(1).tolist() == [length] * 3) == (memory != "mixed")
        with handle.clip(columns, prompt_length=length):
            ids = decode(backbone, prompts, batch)
            together = handle.scores(ids)
    assert torch.equal(ids, torch.cat(texts))
    for stream, prompt in enumerate(prompts):
        own = prompt.visual_scores(together[stream : stream + 1])
        torch.testing.assert_close(own, scores[stream], rtol=1e-4, atol=1e-7)
        assert torch.equal(select_top_tokens(own, 4), select_top_tokens(scores[stream], 4))
    assert not torch.equal(texts[0], texts[1]) or not torch.allclose(scores[0], scores[1])
