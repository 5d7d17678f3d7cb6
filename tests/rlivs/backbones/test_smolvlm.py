"""The words of SmolVLM's prompt."""

import pytest

from rlivs.backbones.smolvlm import number_in_words


@pytest.mark.parametrize(
    "number, words",
    [
        (1, "one"),
        (16, "sixteen"),
        (20, "twenty"),
        (21, "twenty-one"),
        (100, "one hundred"),
        (116, "one hundred and sixteen"),
        (999, "nine hundred and ninety-nine"),
        (1000, "one thousand"),
        (1005, "one thousand and five"),
        (4096, "four thousand and ninety-six"),
        (4196, "four thousand, one hundred and ninety-six"),
    ],
)
def test_numbers(number, words):
    assert number_in_words(number) == words
