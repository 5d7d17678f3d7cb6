"""Questions about videos, asked at their moments, and how many are answered right."""

from rlivs.evaluation.formats import format_names, read_questions
from rlivs.evaluation.judge import Verdict, judge_all
from rlivs.evaluation.predictions import answer_key, appending, check_same, read_predictions
from rlivs.evaluation.question import Question
from rlivs.evaluation.run import Prediction, ask_all, find_videos, question_json
from rlivs.evaluation.scoring import Score, summary

__all__ = [
    "Prediction",
    "Question",
    "Score",
    "Verdict",
    "answer_key",
    "appending",
    "ask_all",
    "check_same",
    "find_videos",
    "format_names",
    "judge_all",
    "question_json",
    "read_predictions",
    "read_questions",
    "summary",
]
