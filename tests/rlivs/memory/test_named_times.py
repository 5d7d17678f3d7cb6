"""Times in ordinary English, and what is none."""

import pytest

from rlivs.memory.named_times import spans_in


@pytest.mark.parametrize(
    ("question", "spans"),
    [
        ("What happened at 0:08?", [(8, 9)]),
        ("What happened at 1:02:03, and what at 0:10?", [(3723, 3724), (10, 11)]),
        ("Who was there between 1:00 and 2:30?", [(60, 151)]),
        ("Who was there from 1:00 to 2:30:00?", [(60, 9001)]),
        ("What is told in 2:30-1:00?", [(60, 151)]),
        ("What did you see 10 minutes ago?", [(9370, 9430)]),
        ("What did you see half an hour ago?", [(6400, 10000)]),
        ("Who came in the last hour?", [(6400, 10000)]),
        ("Who came in the past 2.5 h?", [(1000, 10000)]),
        ("How did the first five minutes go?", [(0, 300)]),
        ("Has anyone been here in the LAST 30s?", [(9970, 10000)]),
        ("What did you see 1 hour and 30 minutes ago?", [(4570, 4630)]),
        ("Who came in the last 1 hour 30 minutes?", [(4600, 10000)]),
        ("What did you see twenty-five minutes ago, or Forty two minutes ago?", [(8470, 8530), (7450, 7510)]),
        ("Who was in the city fifteen minutes ago?", [(9070, 9130)]),
        ("Which car came last?", []),
        ("Who came first and who was last as I saw the first ad?", []),
        ("What did you see a quarter of an hour ago, or 1,000 seconds ago?", []),
        ("Is it " + "7" * 400 + ":00 or was that " + "7" * 400 + " minutes ago?", []),
        ("Is the film in 16:9, 4:3 or 1:85:1?", []),
        ("Was the 2nd minute better than the second hour?", []),
        ("At 25:61?", []),
    ],
)
def test_spans_in_a_question(question, spans):
    assert spans_in(question, now=10_000) == spans
