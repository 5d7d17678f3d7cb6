"""Turning prompts into tokens and tokens into text."""

from rlivs.decoding.greedy import generate_greedily, greedy_tokens
from rlivs.decoding.repetition import RepetitionGuard
from rlivs.decoding.side_by_side import begin_side_by_side, generate_side_by_side, side_by_side_refusal
from rlivs.decoding.text import TextStream, decode_text

__all__ = [
    "RepetitionGuard", "TextStream", "begin_side_by_side", "decode_text", "generate_greedily", "generate_side_by_side",
    "greedy_tokens", "side_by_side_refusal",
]  # fmt: skip
