"""What `rlivs watch` shows: captions above, a line of figures and the prompt below; or plain lines; or JSON."""

from __future__ import annotations

import sys
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from rlivs.cli.answer_json import answer_json
from rlivs.cli.line_editor import LineEditor, key_by_key, read_keys
from rlivs.cli.terminal import messages, print_json
from rlivs.clock import Clock
from rlivs.streaming.answering import Answer
from rlivs.streaming.recent_frames import AnswerFrom
from rlivs.streaming.service import Event, ServiceClosed, StreamService, StreamStatus

# Seconds between two looks at the stream.
REFRESH = 0.2


def is_terminal() -> bool:
    """Whether questions are typed and figures can be redrawn."""
    return sys.stdin.isatty() and sys.stderr.isatty() and sys.stdout.isatty()


class LinesView:
    """One line a caption, gap and answer; ends with the source, when the questions that came are answered."""

    def __init__(self, service: StreamService, stream: str, after: int, answer_from: AnswerFrom) -> None:
        self._service, self._stream, self._answer_from = service, stream, answer_from
        self._events = service.subscribe(stream, after)
        self._questions: SimpleQueue[str] = SimpleQueue()
        self._unanswered = 0
        self._lock = Lock()

    def run(self) -> None:
        """Show events until there is no more to come."""
        for work in (self._read, self._answer):
            Thread(target=work, daemon=True).start()
        self._show_events()

    def _show_events(self) -> None:
        while True:
            event = self._events.get(timeout=REFRESH)
            if event is not None:
                self.show(event)
                continue
            status = self._service.status(self._stream)
            self.refresh(status)
            if self._has_ended(status):
                for last in iter(self._events.get, None):  # what came between the two looks
                    self.show(last)
                return

    def _has_ended(self, status: StreamStatus) -> bool:
        return status.state in ("ended", "failed") and self._unanswered == 0

    def _read(self) -> None:
        for line in sys.stdin:
            self._ask(line)

    def _ask(self, line: str) -> None:
        if line.strip():
            with self._lock:
                self._unanswered += 1
            self._questions.put(line.strip())

    def _answer(self) -> None:
        while True:
            question = self._questions.get()
            try:
                self.show_answer(self._service.ask(self._stream, question, answer_from=self._answer_from))
            except ServiceClosed:
                return
            except Exception as error:  # a question that cannot be answered must not end the view
                self.show_problem(question, str(error))
            with self._lock:
                self._unanswered -= 1

    def show(self, event: Event) -> None:
        line = event_line(event, Clock(self._service.status(self._stream).epoch))
        if line is not None:
            typer.echo(line)

    def show_answer(self, answer: Answer) -> None:
        typer.echo(f"? {answer.question}\n> {answer.text}")

    def show_problem(self, question: str, message: str) -> None:
        messages.print(f"? {question}\n  {message}")

    def refresh(self, status: StreamStatus) -> None:
        """Lines that were printed stay."""


class JsonView(LinesView):
    """One JSON object a line: `event` says what it is."""

    def show(self, event: Event) -> None:
        print_json({"event": event.kind, "serial": event.serial, "stream": event.stream, **event.data})

    def show_answer(self, answer: Answer) -> None:
        told = {"event": "answer", "stream": self._stream, **answer_json(answer)}
        print_json({**told, "frame_times": list(answer.frame_times)})

    def show_problem(self, question: str, message: str) -> None:
        print_json({"event": "answer", "stream": self._stream, "question": question, "error": message})


class TerminalView(LinesView):
    """Captions scroll by; below them a line of figures and the question being typed. Ends with Ctrl-D."""

    def run(self) -> None:
        self._line = LineEditor()
        with (
            key_by_key(),
            Live(console=messages, refresh_per_second=8, transient=True, redirect_stdout=True) as self._live,
        ):
            super().run()

    def _read(self) -> None:
        def press(key: str) -> None:
            finished = self._line.press(key)
            if finished is not None:
                self._ask(finished)
            self.refresh(self._service.status(self._stream))

        read_keys(press)
        self._left = True

    _left = False

    def _has_ended(self, status: StreamStatus) -> bool:
        return self._left

    def refresh(self, status: StreamStatus) -> None:
        figures = Text(status_line(status), style="dim", no_wrap=True, overflow="ellipsis")
        self._live.update(Group(figures, Text(f"? {self._line.text}▏", no_wrap=False)))


def event_line(event: Event, clock: Clock) -> str | None:
    """A caption, gap, drop, error or lost connection as a line; None for the rest."""
    data: dict[str, Any] = event.data
    span = clock.tell_span(data["start"], data["end"]) if "start" in data else ""
    if event.kind == "caption":
        return f"{span}  {data['text']}"
    if event.kind == "gap":
        return f"{span}  -- no picture: {data['reason']} --"
    if event.kind == "dropped":
        return f"{span}  -- {data['frames']} frames dropped: the model is behind --"
    if event.kind == "error":
        return f"-- {data['message']} --"
    if event.kind == "status" and data.get("state") in ("connecting", "reconnecting") and data["last_error"]:
        return f"-- {data['state']}: {data['last_error']}; trying again --"
    return None


def status_line(status: StreamStatus) -> str:
    """The figures of a stream on one line."""
    parts = [
        status.state,
        status.last_error or "",
        f"{status.clips} clips",
        f"lag {status.lag_s:.1f} s",
        f"{status.frames_dropped} frames dropped",
        f"{status.reconnects} reconnects" if status.reconnects else "",
        f"{status.tokens_per_s:.1f} tokens/s",
        f"{status.memory_bytes / 2**20:.1f} MiB",
    ]
    return " · ".join(part for part in parts if part)
