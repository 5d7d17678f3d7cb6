"""Which layers are chosen, and which are refused."""

import pytest
from torch import nn
from transformers import (
    Gemma3nForCausalLM,
    Gemma3nTextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MllamaForCausalLM,
    MllamaTextConfig,
)
from transformers.models.gemma3n.modeling_gemma3n import Gemma3nTextAttention

from rlivs.errors import InputError
from rlivs.scoring import patch
from rlivs.scoring.layers import choose_layers, decoder_attentions, text_decoder


def attentions_of(depth):
    tiny = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1, "num_key_value_heads": 1}
    return decoder_attentions(LlamaForCausalLM(LlamaConfig(num_hidden_layers=depth, vocab_size=8, **tiny)).model)


@pytest.mark.parametrize(
    ("depth", "layers"),
    [(28, (4, 8, 13, 19)), (24, (3, 7, 11, 16)), (36, (5, 10, 17, 24)), (4, (1, 2, 3)), (2, (0, 1)), (1, (0,))],
)
def test_auto_keeps_the_papers_relative_depths(depth, layers):
    assert choose_layers("auto", attentions_of(depth)) == layers


@pytest.mark.parametrize(
    ("asked", "layers"), [("all", (0, 1, 2, 3)), (2, (2,)), (-1, (3,)), ([3, 0], (0, 3)), ((-4, 1), (0, 1))]
)
def test_named_layers(asked, layers):
    assert choose_layers(asked, attentions_of(4)) == layers


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (4, "layer 4 is out of range; the model has layers 0 to 3"),
        ([0, -5], "layer -5 is out of range"),
        ([1, -3], "layer 1 is named twice"),
        ([], "layers is empty"),
        ("some", "layers='some' is unknown"),
        ([0.5], "layer 0.5 is out of range"),
    ],
)
def test_layers_that_do_not_exist(asked, message):
    with pytest.raises(InputError, match=message):
        choose_layers(asked, attentions_of(4))


def test_a_sliding_layer_is_refused(twins):
    with pytest.raises(InputError, match=r"layer 2 attends to a sliding window.*layers='auto'"):
        patch(twins("gemma3").model, layers=2)


@pytest.mark.parametrize("kind", ["indexed_attention", "minimax_m3_sparse", "compressed_sparse_attention"])
def test_a_layer_that_chooses_its_keys_is_refused(kind):
    """Some ask for their attention by name, and would attend to all keys under another."""
    attentions = attentions_of(2)
    attentions[1].layer_type = kind
    assert choose_layers("all", attentions) == (0,)
    with pytest.raises(InputError, match=r"layer 1 attends only to keys that it chooses itself.*layers='auto'"):
        choose_layers(1, attentions)


def test_a_layer_that_borrows_its_keys_is_refused():
    config = Gemma3nTextConfig(
        vocab_size=16,
        vocab_size_per_layer_input=16,
        hidden_size=16,
        hidden_size_per_layer_input=8,
        intermediate_size=[16] * 4,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        layer_types=["full_attention"] * 4,
        num_kv_shared_layers=2,
        activation_sparsity_pattern=[0.0] * 4,
        laurel_rank=4,
    )
    model = Gemma3nForCausalLM(config)
    assert all(isinstance(attention, Gemma3nTextAttention) for attention in decoder_attentions(text_decoder(model)))
    with pytest.raises(InputError, match="layer 3 keeps no keys of its own"):
        patch(model, layers=[1, 3])
    with patch(model) as handle:
        assert handle.layers == (1,)


def test_a_layer_without_attention_is_refused():
    with pytest.raises(InputError, match="layer 1 keeps no keys of its own"):
        choose_layers(1, [attentions_of(1)[0], None])


def test_layers_of_cross_attention_are_passed_over():
    config = MllamaTextConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        cross_attention_layers=[1],
        pad_token_id=0,
    )
    with patch(MllamaForCausalLM(config), "all") as handle:
        assert handle.layers == (0, 2)


class HandWrittenAttention(nn.Module):
    def __init__(self, original):
        super().__init__()
        self.layer_idx = original.layer_idx

    def forward(self, hidden_states, **kwargs):
        return hidden_states, None


def test_an_attention_class_outside_the_interface_is_refused():
    attentions = attentions_of(2)
    attentions[1] = HandWrittenAttention(attentions[1])
    with pytest.raises(
        InputError, match="layer 1's HandWrittenAttention does not use transformers' attention interface"
    ):
        choose_layers([0, 1], attentions)


def test_a_model_without_decoder_layers_is_refused():
    with pytest.raises(InputError, match="Linear has no stack of decoder layers"):
        patch(nn.Linear(2, 2))
