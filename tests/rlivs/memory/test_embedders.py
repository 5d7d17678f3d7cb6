"""Embedders against the same computed by hand, their ids, and directories that are not whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, BertModel, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from rlivs.errors import InputError
from rlivs.memory.embedders import LanguageModelEmbedder, SentenceEmbedder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "blue", "car", "dog"]
WORDS += ["leaves", "enters", "the", "yard", "and", "then"]
TEXTS = ["a red car enters the yard", "the dog leaves", "blue"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def language_model(seed: int, vocabulary: int = len(WORDS), hidden: int = 16) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )


def test_the_mean_of_the_input_embeddings(tokenizer):
    model = language_model(0)
    embedder = LanguageModelEmbedder(model, tokenizer)
    table = model.get_input_embeddings().weight.detach().double()
    embedded = embedder.embed(TEXTS)
    assert embedded.shape == (3, embedder.dim) == (3, 16) and embedded.dtype == np.float32
    for row, text in zip(embedded, TEXTS, strict=True):
        mean = table[[WORDS.index(word) for word in text.split()]].mean(0)
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-6)


def test_a_text_without_tokens_and_no_text(tokenizer):
    embedder = LanguageModelEmbedder(language_model(0), tokenizer)
    assert embedder.embed([]).shape == (0, 16)
    embedded = embedder.embed(["", "a car"])
    assert not embedded[0].any()
    assert np.linalg.norm(embedded[1]) == pytest.approx(1, abs=1e-6)


def test_the_id_is_the_models_whatever_its_precision(tokenizer, tmp_path):
    model = language_model(0)
    known = LanguageModelEmbedder(model, tokenizer).id
    model.save_pretrained(tmp_path)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        again = Qwen2ForCausalLM.from_pretrained(tmp_path, dtype=dtype)
        embedder = LanguageModelEmbedder(again, tokenizer)
        assert embedder.id == known
        assert embedder.embed(TEXTS).dtype == np.float32


def test_other_models_have_other_ids(tokenizer):
    models = [language_model(0), language_model(1), language_model(0, vocabulary=16), language_model(0, hidden=32)]
    assert len({LanguageModelEmbedder(model, tokenizer).id for model in models}) == len(models)


@pytest.fixture(scope="module")
def sentence_directory(tokenizer, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("sentence")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=12,
    )
    BertModel(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture
def own_directory(sentence_directory, tmp_path) -> Path:
    return shutil.copytree(sentence_directory, tmp_path / "model")


def states_by_hand(directory: Path, tokenizer, text: str) -> torch.Tensor:
    """The token states of one text alone: no padding, no batch."""
    with torch.inference_mode():
        return AutoModel.from_pretrained(directory)(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]


def test_mean_pooling(sentence_directory, tokenizer):
    embedder = SentenceEmbedder(sentence_directory)
    embedded = embedder.embed(TEXTS)
    assert embedded.shape == (3, embedder.dim) == (3, 16) and embedded.dtype == np.float32
    for row, text in zip(embedded, TEXTS, strict=True):
        mean = states_by_hand(sentence_directory, tokenizer, text).mean(0)
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-5)


def test_many_texts_and_none(sentence_directory):
    embedder = SentenceEmbedder(sentence_directory)
    assert embedder.embed([]).shape == (0, 16)
    texts = [" ".join(WORDS[4 + (i + j) % 11] for j in range(1 + i % 8)) for i in range(70)]
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    np.testing.assert_allclose(embedder.embed(texts), alone, atol=1e-5)


def test_a_text_longer_than_the_model_reads(sentence_directory):
    embedder = SentenceEmbedder(sentence_directory)
    assert np.isfinite(embedder.embed(["a red car " * 50])).all()


def sentence_transformers_files(directory: Path, pooling: dict[str, bool], extra: list[str] | None = None) -> None:
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    kinds += [(f"{3 + i}_{kind}", kind) for i, kind in enumerate(extra or [])]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **pooling}))
    (directory / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 6, "do_lower_case": False}))


def test_the_pooling_of_sentence_transformers(own_directory, tokenizer):
    sentence_transformers_files(own_directory, {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    embedder = SentenceEmbedder(own_directory)
    row = embedder.embed(["the dog leaves"])[0]
    first = states_by_hand(own_directory, tokenizer, "the dog leaves")[0]
    np.testing.assert_allclose(row, (first / first.norm()).numpy(), atol=1e-5)
    # Six tokens are read, the two special ones included.
    np.testing.assert_array_equal(embedder.embed(["a red blue car dog"]), embedder.embed(["a red blue car then and"]))


def test_other_poolings_and_modules_are_refused(own_directory):
    sentence_transformers_files(own_directory, {"pooling_mode_max_tokens": True})
    with pytest.raises(InputError, match="mean or cls"):
        SentenceEmbedder(own_directory)
    shutil.rmtree(own_directory / "1_Pooling")
    sentence_transformers_files(own_directory, {"pooling_mode_mean_tokens": True}, extra=["Dense"])
    with pytest.raises(InputError, match="has a Dense module"):
        SentenceEmbedder(own_directory)


def test_the_id_holds_the_weights_and_the_pooling(own_directory, sentence_directory):
    known = SentenceEmbedder(sentence_directory).id
    assert SentenceEmbedder(own_directory).id == known
    sentence_transformers_files(own_directory, {"pooling_mode_cls_token": True})
    pooled = SentenceEmbedder(own_directory).id
    weights = own_directory / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert len({known, pooled, SentenceEmbedder(own_directory).id}) == 3


def test_weights_in_several_files(own_directory, sentence_directory):
    expected = SentenceEmbedder(own_directory).embed(TEXTS)
    model = BertModel.from_pretrained(own_directory)
    (own_directory / "model.safetensors").unlink()
    model.save_pretrained(own_directory, max_shard_size="8KB")
    shards = sorted(own_directory.glob("model-*.safetensors"))
    assert len(shards) > 1
    np.testing.assert_allclose(SentenceEmbedder(own_directory).embed(TEXTS), expected, atol=1e-6)
    shards[1].unlink()
    with pytest.raises(InputError, match=f"lacks {shards[1].name}"):
        SentenceEmbedder(own_directory)


@pytest.mark.parametrize(
    "missing", [["config.json"], ["model.safetensors"], ["tokenizer.json"], ["config.json", "model.safetensors"]]
)
def test_an_incomplete_directory(own_directory, missing):
    for name in missing:
        (own_directory / name).unlink()
    with pytest.raises(InputError, match=f"lacks {', '.join(missing)}; get the whole") as caught:
        SentenceEmbedder(own_directory)
    assert "\n" not in str(caught.value)


def test_no_directory(tmp_path):
    with pytest.raises(InputError, match="there is no sentence-embedding directory"):
        SentenceEmbedder(tmp_path / "none")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_file(own_directory, name):
    path = own_directory / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"cannot be read|not valid JSON") as caught:
        SentenceEmbedder(own_directory)
    assert "\n" not in str(caught.value)
