"""Open answers judged by a language model behind an OpenAI-compatible server, as the field's open benchmarks are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rlivs.errors import InputError

REQUEST = (
    "Somebody was asked about a video.\n\nQuestion: {question}\nTrue answer: {answer}\nTheir answer: {pred}\n\n"
    "Compare what the two answers mean, not how they are worded. Reply with one JSON object and nothing else: "
    '{{"correct": true or false, "score": a whole number from 0 (nothing is right) to 5 (all of it is)}}.'
)
_OBJECT = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True)
class Verdict:
    """correct: whether the answer means what the true one does; score: 0 to 5."""

    correct: bool
    score: float


def judge_all(
    rows: Sequence[dict[str, Any]], *, server: str, model: str, key: str | None = None, workers: int = 8
) -> Iterator[tuple[dict[str, Any], Verdict | None]]:
    """Each of these predictions, which have answers, in order, with its verdict, `workers` at a time.

    server: its address up to `/v1`; key: None where it wants none. The verdict is None where the model's reply holds
    none. Raises InputError when openai is not installed, and when the server cannot be asked, after five tries.
    """
    try:
        import openai
    except ImportError:
        raise InputError("judging needs openai; install the package with its extra: pip install '.[judge]'") from None

    def ask(row: dict[str, Any]) -> Verdict | None:
        content = REQUEST.format(question=row["question"], answer=row["answer"], pred=row["pred"] or "(none)")
        messages: Any = [{"role": "user", "content": content}]
        try:
            reply = client.chat.completions.create(model=model, messages=messages, temperature=0)
            text = reply.choices[0].message.content or ""
        except (AttributeError, LookupError, TypeError):
            raise InputError(f"{server} does not speak OpenAI's API; give its address up to /v1") from None
        except Exception as error:  # the client's own errors, and those of an address or a key that cannot be sent
            raise InputError(
                f"{server} cannot be asked ({_told(error)}); check --server, --judge and the key"
            ) from None
        return read_verdict(text)

    try:
        client = openai.OpenAI(base_url=server, api_key=key or "none", max_retries=4, timeout=120)
    except Exception as error:
        raise InputError(f"{server} is no address ({_told(error)}); give the server's up to /v1") from None
    with client, ThreadPoolExecutor(workers) as threads:
        try:
            yield from zip(rows, threads.map(ask, rows), strict=True)
        finally:
            threads.shutdown(cancel_futures=True)


def _told(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def read_verdict(text: str) -> Verdict | None:
    """The verdict in a model's reply, which may have words around it; None where there is none."""
    for found in reversed(_OBJECT.findall(text)):
        try:
            value = json.loads(found)
            correct, score = value["correct"], float(value["score"])
        except (ValueError, LookupError, TypeError):
            continue
        if isinstance(correct, str):
            correct = {"yes": True, "true": True, "no": False, "false": False}.get(correct.strip().lower())
        if isinstance(correct, bool) and 0 <= score <= 5:
            return Verdict(correct, score)
    return None
