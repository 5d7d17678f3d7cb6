"""Figures for Prometheus: what the server did, and at each scrape how the streams stand."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from rlivs.serving.service import Service

_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """A registry of its own, so that several servers in one process do not share figures."""

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "rlivs_http_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "rlivs_http_request_seconds", "To the first byte", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.questions = Counter("rlivs_questions", "Questions by outcome", ["outcome"], registry=self.registry)
        self.first_text_seconds = Histogram(
            "rlivs_answer_first_text_seconds", "Question to first text", buckets=_SECONDS, registry=self.registry
        )
        self.answer_seconds = Histogram(
            "rlivs_answer_seconds", "Question to whole answer", buckets=_SECONDS, registry=self.registry
        )
        self.listeners = Gauge("rlivs_event_listeners", "Open event streams", registry=self.registry)
        self.frames = Counter("rlivs_frames_pushed", "Frames pushed over HTTP", registry=self.registry)
        ProcessCollector(registry=self.registry)
        self.registry.register(_Streams(service))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Streams:
    """The streams' own figures, read when they are asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        statuses = self._service.streams()
        yield GaugeMetricFamily("rlivs_streams", "Streams known", value=len(statuses))
        clips = CounterMetricFamily("rlivs_clips", "Clips captioned", labels=["stream"])
        dropped = CounterMetricFamily("rlivs_frames_dropped", "Frames dropped under load", labels=["stream"])
        lag = GaugeMetricFamily("rlivs_lag_seconds", "Newest frame to newest caption", labels=["stream"])
        speed = GaugeMetricFamily("rlivs_tokens_per_second", "Caption tokens generated", labels=["stream"])
        memory = GaugeMetricFamily("rlivs_memory_bytes", "Held for the stream", labels=["stream"])
        state = GaugeMetricFamily("rlivs_stream_state", "1 for the state it is in", labels=["stream", "state"])
        for each in statuses:
            clips.add_metric([each.stream], each.clips)
            dropped.add_metric([each.stream], each.frames_dropped)
            for family, value in ((lag, each.lag_s), (speed, each.tokens_per_s), (memory, each.memory_bytes)):
                if value is not None:
                    family.add_metric([each.stream], value)
            state.add_metric([each.stream, str(each.state)], 1)
        yield from (clips, dropped, lag, speed, memory, state)
