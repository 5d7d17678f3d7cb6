import pytest

from rlivs.errors import InputError
from rlivs.times import format_time, parse_time


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (8, "0:08"), (59.9, "0:59"), (75, "1:15"), (3600, "1:00:00"), (3675.5, "1:01:15")],
)
def test_format(seconds, text):
    assert format_time(seconds) == text


@pytest.mark.parametrize(("text", "seconds"), [("75", 75), ("1:15", 75), ("1:01:15", 3675), ("0:08.5", 8.5), ("0", 0)])
def test_parse(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "a", "1:2:3:4", "-5", "1:-5", "nan", "1:nan", "inf", "1::2", "1:75", "1:60:00", "99:99:99"]
)
def test_what_is_no_time(text):
    with pytest.raises(InputError, match="is no time"):
        parse_time(text)
