"""What the models of full size would hold on a GPU, counted allocation by allocation, without a number in them."""

import pytest
import torch
from stand_in_gpu import stand_in_gpu

from benchmarks.pipeline.random_backbone import random_backbone
from benchmarks.pipeline.shapes import FULL, MODELS
from rlivs.backbones import Prompt
from rlivs.decoding.greedy import begin_steps

CLIP = 6332  # positions: a clip of 3,136 tokens, a full memory of 16 x 196, the text

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="it is counted on a stand-in of a GPU")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_clip_and_a_question_stay_within_three_gigabytes_of_the_weights(model):
    """The libraries' workspaces and the allocator's gaps are not in it."""
    with stand_in_gpu(hollow=True) as gpu, torch.no_grad():
        backbone = random_backbone(model, "meta", torch.bfloat16)
        backbone.model.to_empty(device="cuda").tie_weights()
        weights, width = gpu.allocated, backbone.model.get_input_embeddings().embedding_dim
        for length in (CLIP, FULL.context_tokens + FULL.question_tokens):
            torch.cuda.reset_peak_memory_stats()
            embeddings = torch.empty(1, length, width, dtype=torch.bfloat16, device="cuda")
            steps = begin_steps(backbone.model, Prompt(embeddings, slice(0, 0)), FULL.answer_tokens)
            steps.prefill()
            peak = torch.cuda.max_memory_allocated() - weights
            print(f"{model.name}, {length} positions: {weights / 2**30:.2f} GiB of weights + {peak / 2**30:.2f} GiB")
            cache = 2 * sum(layer.keys.nbytes for layer in steps._cache.layers)
            assert cache < peak < 3e9
            del embeddings, steps
