"""The stages of one model by one way, one row each as it is done; a process of its own runs it as a module."""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch

import rlivs_kernels as rk
from benchmarks.kernels.timing import quantiles
from benchmarks.pipeline.clock import (
    GIB,
    Marks,
    copy_rate,
    forget_peak,
    matmul_rate,
    peak_gib,
    synchronize,
    wall,
)
from benchmarks.pipeline.floors import Floors, Rates
from benchmarks.pipeline.random_backbone import random_backbone
from benchmarks.pipeline.shapes import FULL, MODELS, TOY, TOYS, Model, Work
from benchmarks.pipeline.ways import WAYS, Generate, Ours
from rlivs.backbones import Prompt, VisualTokens
from rlivs.config import PipelineConfig
from rlivs.decoding import decode_text, graph, side_by_side_refusal
from rlivs.decoding.greedy import begin_steps
from rlivs.memory.embedders import LanguageModelEmbedder
from rlivs.memory.store import Caption, CaptionStore
from rlivs.memory.visual import SelectedTokens, VisualMemory
from rlivs.streaming.answering import answer_prompt, caption_line
from rlivs.streaming.captioning import caption_ready, ready_clip
from rlivs.streaming.session import Session
from rlivs.streaming.together import caption_clips
from rlivs.video import VideoClip, iter_clips

CLIP_REPEATS = 5
STREAM_CLIPS = 4
QUESTIONS_SHARE = 0.6  # of the time, for the questions
AT_ONCE = {"cuda": (4, 16), "cpu": (4,)}
TOGETHER_SHARE = 0.1  # of the time left, for captions side by side


@dataclass(frozen=True)
class Row:
    """One stage. Milliseconds a call (for tokens: a token); `positions` of the prompt, or visual tokens.

    `floor_ms` by the rates measured in the same process; `peak_gib` of all that ran since the last peak began, weights
    included. `note` says why there is no time, or what is counted.
    """

    model: str
    way: str
    stage: str
    positions: int | None = None
    repeats: int = 0
    p20_ms: float | None = None
    p50_ms: float | None = None
    p80_ms: float | None = None
    floor_ms: float | None = None
    fraction_of_floor: float | None = None
    peak_gib: float | None = None
    note: str = ""
    copy_gb_per_s: float | None = None
    matmul_tflop_per_s: float | None = None


class Bench:
    """One model, its prompts and its floors."""

    def __init__(self, model: Model, way: str, work: Work, device: torch.device, ends_at: float) -> None:
        self.model, self.work, self.device, self.ends_at = model, work, device, ends_at
        self.way_name = way
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.rates = Rates(copy_rate(device), matmul_rate(device, dtype))
        self.backbone = random_backbone(model, str(device), dtype)
        self.floors = Floors(self.backbone.model, self.rates)
        self.way: Generate = WAYS[way](self.backbone)
        self.config = PipelineConfig(
            fps=work.fps,
            frames_per_clip=work.frames,
            max_caption_tokens=work.caption_tokens,
            max_answer_tokens=work.answer_tokens,
            memory_slots=work.slots,
            context_budget=work.context_tokens,
        )
        random = np.random.default_rng(0)
        self.frames = random.integers(0, 256, (work.frames, work.height, work.width, 3), dtype=np.uint8)
        self.times = tuple(index / work.fps for index in range(work.frames))

    def left(self) -> float:
        """Seconds of the time that was given."""
        return self.ends_at - time.monotonic()

    def row(
        self,
        stage: str,
        times: list[float] | None = None,
        *,
        positions: int | None = None,
        floor: float | None = None,
        peak: float | None = None,
        note: str = "",
    ) -> Row:
        spread = quantiles(times) if times else None
        return Row(
            model=self.model.name,
            way=self.way_name,
            stage=stage,
            positions=positions,
            repeats=len(times or []),
            p20_ms=None if spread is None else round(spread.p20, 4),
            p50_ms=None if spread is None else round(spread.p50, 4),
            p80_ms=None if spread is None else round(spread.p80, 4),
            floor_ms=None if floor is None else round(floor, 4),
            fraction_of_floor=None if floor is None or spread is None else round(floor / spread.p50, 4),
            peak_gib=None if peak is None else round(peak, 3),
            note=note,
            copy_gb_per_s=round(self.rates.bytes_per_second / 1e9, 1),
            matmul_tflop_per_s=round(self.rates.flops / 1e12, 3),
        )

    def repeat(self, call: Callable[[], object], most: int, seconds: float, warm: bool = False) -> list[float]:
        """Milliseconds of each of at most `most` calls, as many as `seconds` allow, at least one.

        One untimed call comes first, unless what it would compile and allocate is `warm` already.
        """
        if not warm:
            call()
        times: list[float] = []
        begin = time.monotonic()
        while len(times) < most and (not times or (time.monotonic() - begin < seconds and self.left() > 0)):
            times.append(wall(call, self.device)[0])
        return times


def measure(model: Model, way: str, work: Work, device: torch.device, seconds: float) -> Iterator[Row]:
    """Rows of all stages, in about `seconds`. Out of memory, or any error of one part, is a row that says so."""
    ends_at = time.monotonic() + seconds
    try:
        bench = Bench(model, way, work, device, ends_at)
    except torch.OutOfMemoryError as error:
        yield Row(model.name, way, "weights", note=_reason(error))
        return
    weights = bench.floors.weight_bytes / GIB
    yield bench.row("weights", peak=weights, note=f"{bench.floors.step_bytes / GIB:.3f} GiB of them read by a step")
    try:
        parts: list[Callable[[Bench], Iterator[Row]]] = [_clips, _questions]
        if isinstance(bench.way, Ours):
            parts = [_clips, _together, _streams, _questions, _kernels]
        for part in parts:
            try:
                yield from part(bench)
            except Exception as error:  # a part that fails must not cost the parts behind it
                traceback.print_exc()
                stage = part.__name__.strip("_")
                yield bench.row(stage, note=_reason(error))
                del error
                gc.collect()
                forget_peak(device)
    finally:
        bench.way.close()


def _reason(error: BaseException) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory"
    return f"failed: {(str(error).splitlines() or [type(error).__name__])[0]}"


def _clips(bench: Bench) -> Iterator[Row]:
    """Vision, prefill, caption, scores, selection; then a whole clip, memory full."""
    work, backbone, way, device = bench.work, bench.backbone, bench.way, bench.device
    share = max(1.0, (1 - QUESTIONS_SHARE) * bench.left())
    forget_peak(device)
    visual = backbone.encode(bench.frames, bench.times)
    patches = _patches(bench, visual)
    times = bench.repeat(lambda: backbone.encode(bench.frames, bench.times), 10, share / 10)
    yield bench.row("vision", times, positions=visual.count, floor=bench.floors.vision(patches))

    memory = _full_memory(bench, visual)
    prompt = backbone.caption_prompt(visual, memory, bench.config.caption_prompt)
    yield from _caption_stages(bench, visual, prompt, share / 3)
    floor = bench.floors.vision(patches) + bench.floors.prefill(prompt.length)
    floor += bench.floors.step(work.caption_tokens - 1)
    del prompt

    def clip() -> None:
        if isinstance(way, Ours):
            caption_ready(backbone, way.tap, ready_clip(backbone, _clip(bench, 0), memory, bench.config), bench.config)
            return
        encoded = backbone.encode(bench.frames, bench.times)
        asked = backbone.caption_prompt(encoded, memory, bench.config.caption_prompt)
        new = way.caption(asked, work.caption_tokens, Marks(device))
        decode_text(backbone.tokenizer, new[0].tolist())
        found = way.scores(asked, new)
        if found is not None:
            keep = bench.config.tokens_to_keep(encoded.count)
            encoded.select(0, rk.select_top_tokens(found, keep)[0])

    forget_peak(device)
    whole = bench.repeat(clip, CLIP_REPEATS, share / 3, warm=True)
    yield bench.row("clip", whole, floor=floor, peak=peak_gib(device), note=f"{work.caption_tokens} tokens")


def _steps_note(bench: Bench) -> str:
    """How the decode steps ran: as a CUDA graph or why not, and the backend of decode attention."""
    model = bench.backbone.model
    refused = graph.refusal(model)
    steps = f"no CUDA graph: {refused}" if refused else "CUDA graph" if graph.can_capture(model) else "no CUDA graph"
    return f"{steps}; decode attention by {rk.environment_report()['backends']['decode_attention']['auto']}"


def _caption_stages(bench: Bench, visual: VisualTokens, prompt: Prompt, seconds: float) -> Iterator[Row]:
    work, way, device = bench.work, bench.way, bench.device
    prefills, tokens, means, scorings = [], [], [], []
    ends_at = float("inf")
    for index in range(1 + CLIP_REPEATS):
        marks = Marks(device)
        ids = way.caption(prompt, work.caption_tokens, marks)
        spent = marks.milliseconds()
        took, scores = wall(partial(way.scores, prompt, ids), device)
        if index == 0:  # it compiles and warms up
            ends_at = time.monotonic() + seconds
            continue
        prefills.append(spent[0])
        tokens += spent[1:]
        means.append(sum(spent[1:]) / len(spent[1:]))
        scorings.append(took)
        if time.monotonic() > ends_at or bench.left() < 0:
            break
    assert ids.shape == (1, work.caption_tokens)
    yield bench.row("prefill", prefills, positions=prompt.length, floor=bench.floors.prefill(prompt.length))
    note = _steps_note(bench) if isinstance(way, Ours) else ""
    yield bench.row("caption token", tokens, positions=prompt.length, floor=bench.floors.step(), note=note)
    # The median hides a graph's capture; the mean of a caption has it.
    yield bench.row("caption token, mean of a caption", means, positions=prompt.length, floor=bench.floors.step())
    if scores is not None:
        if isinstance(way, Ours):  # eager has its maps already: to read them is not to score
            yield bench.row("scoring", scorings, positions=visual.count)
        keep = bench.config.tokens_to_keep(visual.count)
        select = bench.repeat(lambda: visual.select(0, rk.select_top_tokens(scores, keep)[0]), 20, seconds / 10)
        yield bench.row("selection", select, positions=visual.count, note=f"{keep} kept")
    if isinstance(way, Ours):
        marks = Marks(device)
        with way.tap.paused():
            way.text(prompt, work.caption_tokens, marks)
        yield bench.row("caption token, not scored", marks.milliseconds()[1:], floor=bench.floors.step())


def _together(bench: Bench) -> Iterator[Row]:
    """Clips of several streams captioned side by side, each with a full memory of its own."""
    work, backbone, device = bench.work, bench.backbone, bench.device
    assert isinstance(bench.way, Ours)
    tap, refusal = bench.way.tap, side_by_side_refusal(backbone.model)
    if refusal is not None:
        yield bench.row("clips at once", note=refusal)
        return
    memory = _full_memory(bench, backbone.encode(bench.frames, bench.times))
    ready = ready_clip(backbone, _clip(bench, 0), memory, bench.config)
    sizes = AT_ONCE[device.type]
    for count in sizes:
        moments: list[float] = []

        def clips(count: int = count, moments: list[float] = moments) -> None:
            moments.clear()
            caption_clips(backbone, tap, [ready] * count, bench.config, lambda: moments.append(time.perf_counter()))

        forget_peak(device)
        took = bench.repeat(clips, 2, TOGETHER_SHARE * bench.left() / len(sizes))
        steps = [1e3 * (end - begin) for begin, end in itertools.pairwise(moments[count:])]
        note = f"a step of all; {1e3 * count / quantiles(steps).p50:.0f} tokens a second"
        floor = bench.floors.step(cached=count * ready.prompt.length)
        yield bench.row(f"caption step, {count} at once", steps, floor=floor, note=note)
        times = [each / count for each in took]
        note = f"a clip; prompts of {ready.prompt.length}, {work.caption_tokens} tokens; not encoded"
        yield bench.row(f"clip, {count} at once", times, peak=peak_gib(device), note=note)


def _streams(bench: Bench) -> Iterator[Row]:
    """A film decoded, and its clips one behind the other through a session with a memory on disk."""
    work, backbone = bench.work, bench.backbone
    assert isinstance(bench.way, Ours)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        write_film(film, work)

        def decode() -> VideoClip:
            return next(iter_clips(film, fps=work.fps, frames_per_clip=work.frames))

        note = f"{work.frames} frames of a {work.width}x{work.height} film of {work.film_rate} a second"
        yield bench.row("decode video", bench.repeat(decode, 3, 3.0), note=note)
        embedder = LanguageModelEmbedder(backbone.model, backbone.tokenizer)
        with CaptionStore.open(Path(folder) / "captions.db") as store:
            store.create_stream("film", source="", settings={})
            memory = _full_memory(bench, backbone.encode(bench.frames, bench.times))
            appends = []
            for index, slot in enumerate(memory):
                caption = Caption("film", index, 0.0, 0.0, "", 1, tuple(slot.indices.tolist()))
                embedding = embedder.embed(["a"])[0]

                def append(caption: Caption = caption, slot: SelectedTokens = slot, e: np.ndarray = embedding) -> None:
                    payload = VisualMemory.to_bytes(slot)
                    store.append(caption, embedding=e, embedder_id=embedder.id, visual=payload, keep_visual=work.slots)

                appends.append(wall(append, bench.device)[0])
            yield bench.row("remember", appends, note="one transaction on disk")
            session = Session("film", backbone, bench.way.tap, embedder, store, bench.config)
            first = session.next_clip
            clips = (_clip(bench, index) for index in range(first, first + 1 + STREAM_CLIPS))
            moments = []
            for _ in session.caption_clips(clips):
                synchronize(bench.device)
                moments.append(time.perf_counter())
            spent = [1e3 * (end - begin) for begin, end in itertools.pairwise(moments)]
            yield bench.row("clip in a stream", spent, note="the next clip is encoded meanwhile; memory on disk")


def _questions(bench: Bench) -> Iterator[Row]:
    """Questions about the hour behind: retrieval, prefill, tokens, and the whole."""
    work, backbone, way, device = bench.work, bench.backbone, bench.way, bench.device
    embedder = LanguageModelEmbedder(backbone.model, backbone.tokenizer)
    random = np.random.default_rng(1)
    with CaptionStore.open(":memory:") as store:
        _fill(bench, store, embedder, random)
        questions = [_letters(random, work.question_tokens) for _ in range(work.questions)]
        captions, embeddings = store.recall("hour")

        def ask_prompt(question: str) -> Prompt:
            return answer_prompt(backbone, embedder, bench.config, question, captions[-1].end, captions, embeddings)[0]

        forget_peak(device)
        asked = itertools.cycle(questions)
        retrieval = bench.repeat(lambda: ask_prompt(next(asked)), 10, 2.0)
        prompt = ask_prompt(questions[0])
        yield bench.row(
            "retrieval", retrieval, positions=prompt.length, note=f"of {len(captions)} captions; prompt included"
        )
        prefills, tokens = [], []
        for index in range(3):
            marks = Marks(device)
            way.text(prompt, work.answer_tokens, marks)
            spent = marks.milliseconds()
            if index:
                prefills.append(spent[0])
                tokens += spent[1:]
            if index and bench.left() < (3 - index) * 1e-3 * sum(spent):
                break
        yield bench.row("answer prefill", prefills, positions=prompt.length, floor=bench.floors.prefill(prompt.length))
        yield bench.row("answer token", tokens, positions=prompt.length, floor=bench.floors.step())

        session = None
        if isinstance(way, Ours):
            session = Session("hour", backbone, way.tap, embedder, store, bench.config)

        def ask(question: str) -> None:
            if session is not None:
                session.ask(question)
                return
            new = way.text(ask_prompt(question), work.answer_tokens, Marks(device))
            decode_text(backbone.tokenizer, new[0].tolist())

        asked = itertools.cycle(questions)
        latencies = bench.repeat(lambda: ask(next(asked)), work.questions, max(1.0, bench.left()), warm=True)
        floor = bench.floors.prefill(prompt.length) + bench.floors.step(work.answer_tokens - 1)
        yield bench.row(
            "question",
            latencies,
            positions=prompt.length,
            floor=floor,
            peak=peak_gib(device),
            note=f"{work.question_tokens} tokens asked, {work.answer_tokens} answered",
        )


def _kernels(bench: Bench) -> Iterator[Row]:
    """On a GPU: what a caption's step spends its time on, by the profiler, the most costly kernels first."""
    if bench.device.type != "cuda":
        return
    count = 8
    prompt = bench.backbone.text_prompt("x" * bench.work.context_tokens)
    with torch.no_grad():
        steps = begin_steps(bench.backbone.model, prompt, 4 + count)
        steps.prefill()
        for _ in range(3):
            steps.step()
        synchronize(bench.device)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for _ in range(count):
                steps.step()
            synchronize(bench.device)
    found = [event for event in profile.key_averages() if event.self_device_time_total > 0]
    found.sort(key=lambda event: -event.self_device_time_total)
    busy = [1e-3 * sum(event.self_device_time_total for event in found) / count]
    note = f"{sum(event.count for event in found) / count:.0f} kernels a step"
    yield bench.row("step, busy", busy, positions=prompt.length, floor=bench.floors.step(), note=note)
    for event in found[:12]:
        times = [1e-3 * event.self_device_time_total / count]
        yield bench.row("step, kernel", times, note=f"{event.count / count:.0f} x {event.key[:100]}")


def _clip(bench: Bench, index: int) -> VideoClip:
    length = bench.work.frames / bench.work.fps
    times = tuple(index * length + time for time in bench.times)
    return VideoClip(index, bench.frames, times, index * length, (index + 1) * length)


def _full_memory(bench: Bench, visual: VisualTokens) -> list[SelectedTokens]:
    keep = bench.config.tokens_to_keep(visual.count)
    generator = torch.Generator().manual_seed(0)
    chosen = [torch.randperm(visual.count, generator=generator)[:keep].sort().values for _ in range(bench.work.slots)]
    return [visual.select(index, indices.to(visual.embeddings.device)) for index, indices in enumerate(chosen)]


def _patches(bench: Bench, visual: VisualTokens) -> int:
    vision = bench.backbone.model.config.vision_config
    merge = getattr(vision, "spatial_merge_size", None)
    if merge is not None:
        return visual.count * merge**2
    return bench.work.frames * (vision.image_size // vision.patch_size) ** 2


def _fill(bench: Bench, store: CaptionStore, embedder: LanguageModelEmbedder, random: np.random.Generator) -> None:
    """The captions of the hours behind, in a stream named `hour`."""
    work, length = bench.work, bench.work.frames / bench.work.fps
    store.create_stream("hour", source="", settings={})
    for index in range(work.captions):
        start, end, text = index * length, (index + 1) * length, _letters(random, work.caption_tokens)
        line = caption_line(start, end, text) + "\n"
        count = len(bench.backbone.tokenizer(line, add_special_tokens=False).input_ids)
        store.append(
            Caption("hour", index, start, end, text, count, (0,)),
            embedding=embedder.embed([text])[0],
            embedder_id=embedder.id,
            visual=None,
        )


def _letters(random: np.random.Generator, count: int) -> str:
    """`count` letters in words; a letter is a token of the tokenizer used here."""
    letters = "".join(chr(97 + code) for code in random.integers(0, 26, count))
    return " ".join(letters[first : first + 5] for first in range(0, count, 6)).ljust(count, "x")[:count]


def write_film(path: Path, work: Work) -> None:
    """A film a little longer than a clip: a square that wanders."""
    seconds = work.frames / work.fps + 2
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=work.film_rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = work.width, work.height, "yuv420p"
        image = np.full((work.height, work.width, 3), 90, np.uint8)
        side = work.height // 4
        for index in range(int(seconds * work.film_rate)):
            picture = image.copy()
            left = 3 * index % (work.width - side)
            picture[side : 2 * side, left : left + side] = (200, 40, 60)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def find_model(name: str) -> tuple[Model, Work]:
    """A model by its name, and the work that goes with its size."""
    for models, work in ((MODELS, FULL), (TOYS, TOY)):
        for model in models:
            if model.name == name:
                return model, work
    raise ValueError(f"no model '{name}'; choose one of {', '.join(m.name for m in (*MODELS, *TOYS))}")


def main(arguments: list[str] | None = None) -> None:
    """Rows as JSON, one a line, on standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--way", required=True, choices=list(WAYS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--until", type=float, help="Unix time by which to be done; default in a minute")
    options = parser.parse_args(arguments)
    model, work = find_model(options.model)
    seconds = 60.0 if options.until is None else options.until - time.time()
    for row in measure(model, options.way, work, torch.device(options.device), seconds):
        print(json.dumps(asdict(row)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
