"""The files that benchmarks come in, a module each: `read(path)` gives its questions."""

from __future__ import annotations

import csv
import pkgutil
from collections import Counter
from importlib import import_module
from pathlib import Path

from pydantic import ValidationError

from rlivs.errors import InputError
from rlivs.evaluation.question import LETTERS, Question


def format_names() -> list[str]:
    """The known formats: a new module here is one more."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def read_questions(path: str | Path, form: str = "jsonl") -> list[Question]:
    """The questions of a benchmark's file (of a folder, where its format is one), in the file's order.

    Raises InputError for an unknown format, a file that cannot be read or is not of that format, and questions that
    cannot be asked: empty ones, two of one id, more than 26 choices, an answer that is none of the choices.
    """
    if form not in format_names():
        raise InputError(f"there is no format '{form}'; the formats are: {', '.join(format_names())}")
    place = Path(path)
    try:
        questions = list(import_module(f"{__name__}.{form}").read(place))
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename or place}: {error.strerror}; name the benchmark's file of questions"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{'.'.join(map(str, first['loc']))} is {repr(first['input'])[:40]}: {first['msg'].lower()}"
        raise InputError(f"{place} has a question that cannot be asked ({told}); mend it") from None
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, csv.Error) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{place} is not of the format {form} ({reason}); choose another --format") from None
    for question in questions:
        _check(question)
    repeated = [name for name, count in Counter(question.id for question in questions).items() if count > 1]
    if repeated:
        raise InputError(f"{place} has several questions with the id '{repeated[0]}'; give each its own")
    if not questions:
        raise InputError(f"{place} holds no question; name the benchmark's file of questions")
    return questions


def _check(question: Question) -> None:
    if not question.text.strip() or not question.video:
        raise InputError(f"question '{question.id}' has no text or no video; give it both")
    try:
        "".join((question.id, question.video, question.prompt, question.answer or "", question.kind)).encode()
    except UnicodeEncodeError:
        raise InputError(f"question {question.id!a} is no UTF-8 text; write it in UTF-8") from None
    if len(question.choices) > len(LETTERS):
        raise InputError(f"question '{question.id}' has {len(question.choices)} choices; give it 26 at most")
    if question.choices and question.answer is not None and question.answer not in question.choices:
        raise InputError(f"the answer of question '{question.id}' is none of its choices; give the choice's own text")
    if question.at is not None and not 0 <= question.at < float("inf"):
        raise InputError(f"question '{question.id}' is asked at {question.at} s; give seconds of the video, from 0 on")
