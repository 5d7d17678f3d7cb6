"""Turning prompts into tokens and tokens into text."""

from rlivs.decoding.greedy import generate_greedily, greedy_tokens
from rlivs.decoding.repetition import RepetitionGuard
from rlivs.decoding.text import TextStream, decode_text

__all__ = ["RepetitionGuard", "TextStream", "decode_text", "generate_greedily", "greedy_tokens"]
