"""Coloured shapes that move: their captions, their pictures and the questions about them."""
