"""Turning prompts into tokens and tokens into text."""

from rlivs.decoding.greedy import generate_greedily
from rlivs.decoding.text import TextStream, decode_text

__all__ = ["TextStream", "decode_text", "generate_greedily"]
