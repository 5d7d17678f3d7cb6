"""On a GPU or its stand-in: captured steps choose and score what plain ones do, again and again, beside other work."""

import logging
import threading

import pytest
import torch
from random_prompts import ENDS, in_turns, random_prompt
from tiny_models import load_tiny_backbone

from rlivs.backbones import Prompt, load_backbone
from rlivs.decoding import begin_side_by_side, fixed, generate_greedily, generate_side_by_side, graph, greedy
from rlivs.decoding.fewer import FewerOperations
from rlivs.scoring import patch


@pytest.fixture
def times(gpu):
    """How often what is repeated is: less on a stand-in, which is slow."""
    return lambda often: often if gpu is None else max(2, often // 20)


@pytest.fixture(params=["llava_onevision", "qwen2_5_vl", "qwen3_5"])
def both(request, tmp_path, gpu):
    """The same weights on the CPU and on the GPU, in float32, with texts that end early."""
    torch.backends.cuda.matmul.allow_tf32 = False
    on_cpu = load_tiny_backbone(tmp_path, request.param)
    on_gpu = load_backbone(tmp_path, device="cuda", dtype=torch.float32)
    on_cpu.eos_token_ids = on_gpu.eos_token_ids = ENDS
    return on_cpu, on_gpu


@pytest.fixture
def counted(gpu):
    """How often graphs were captured and replayed."""
    counts = {"capture": 0, "replay": 0}
    real = torch.cuda.CUDAGraph

    class Counted(real):
        def capture_begin(self, *args, **kwargs):
            counts["capture"] += 1
            assert kwargs["capture_error_mode"] == "thread_local"
            return super().capture_begin(*args, **kwargs)

        def replay(self):
            counts["replay"] += 1
            return super().replay()

    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(torch.cuda, "CUDAGraph", Counted)
        yield counts


def on_cuda(prompt):
    return Prompt(prompt.inputs_embeds.cuda(), prompt.columns)


def test_captured_steps_choose_and_score_the_same(both, times):
    on_cpu, on_gpu = both
    assert graph.can_capture(on_gpu.model)
    with patch(on_cpu.model, layers="all") as cpu_handle, patch(on_gpu.model, layers="all") as gpu_handle:
        for seed in range(times(60)):
            prompt, limit = random_prompt(seed, 12), 1 + seed % 40
            with cpu_handle.clip(prompt.columns, prompt_length=prompt.length):
                ids = generate_greedily(on_cpu, prompt, limit)
            with gpu_handle.clip(prompt.columns, prompt_length=prompt.length):
                gpu_ids = generate_greedily(on_gpu, on_cuda(prompt), limit)
            assert torch.equal(gpu_ids.cpu(), ids)
            torch.testing.assert_close(gpu_handle.scores(gpu_ids).cpu(), cpu_handle.scores(ids), rtol=1e-3, atol=1e-5)
    assert on_gpu.model.get_decoder() in graph._last_graphs
    assert on_gpu.model.get_decoder() not in graph._refused


@pytest.mark.parametrize("mode", ["deferred", "fused"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_replay_is_bit_for_bit_a_plain_step(tmp_path, monkeypatch, counted, times, mode, dtype):
    load_tiny_backbone(tmp_path, "llava_onevision")
    backbone = load_backbone(tmp_path, device="cuda", dtype=dtype)
    backbone.eos_token_ids = ()
    monkeypatch.setattr(backbone.model.generation_config, "eos_token_id", None)
    with patch(backbone.model, layers="all", mode=mode) as handle:
        for seed in range(times(20)):
            prompt = random_prompt(seed, 12)
            prompt, found = Prompt(prompt.inputs_embeds.to("cuda", dtype), prompt.columns), []
            for begin in (graph.GraphedSteps, fixed.FixedSteps):
                monkeypatch.setattr(greedy, "begin_steps", begin)
                with handle.clip(prompt.columns, prompt_length=prompt.length):
                    ids = generate_greedily(backbone, prompt, 40)
                    found.append((ids, handle.scores(ids)))
            assert torch.equal(found[0][0], found[1][0])
            assert torch.equal(found[0][1], found[1][1])
    assert counted == {"capture": times(20), "replay": times(20) * 38}


@pytest.mark.parametrize("mode", ["deferred", "fused"])
def test_texts_side_by_side_are_those_of_each_alone(both, counted, monkeypatch, mode):
    on_cpu, on_gpu = both
    on_cpu.eos_token_ids = on_gpu.eos_token_ids = ()
    monkeypatch.setattr(on_gpu.model.generation_config, "eos_token_id", None)
    monkeypatch.setattr(on_cpu.model.generation_config, "eos_token_id", None)
    prompts = [random_prompt(seed, 12, 60) for seed in range(4)]
    width = min(prompt.columns.stop for prompt in prompts)
    with patch(on_gpu.model, layers="all", mode=mode) as handle, patch(on_cpu.model, layers="all") as on_cpu_handle:
        steps = begin_side_by_side(on_gpu.model, [on_cuda(prompt) for prompt in prompts], 20)
        columns = [slice(start, start + width) for start in steps.starts]
        with handle.clip(columns, prompt_length=steps.padded_length, key_starts=steps.starts):
            with handle.paused():
                steps.prefill()
            texts = generate_side_by_side(on_gpu, steps, [20] * 4)
            scores = handle.scores(torch.tensor(texts), [20] * 4)
        for row, prompt in enumerate(prompts):
            with on_cpu_handle.clip(slice(0, width), prompt_length=prompt.length):
                ids = generate_greedily(on_cpu, prompt, 20)
            assert texts[row] == ids[0].tolist()
            torch.testing.assert_close(scores[row : row + 1].cpu(), on_cpu_handle.scores(ids), rtol=1e-3, atol=1e-5)
    assert counted == {"capture": 1, "replay": 19}


def test_a_longer_text_is_captured_again(both, counted, monkeypatch):
    """The cache of the second text is larger than the first one's, the third one's smaller again."""
    on_cpu, on_gpu = both
    monkeypatch.setattr(fixed, "CACHE_BLOCK", 32)
    on_cpu.eos_token_ids = on_gpu.eos_token_ids = ()
    for seed, length in ((0, 10), (1, 300), (2, 10)):
        prompt = random_prompt(seed, length, length)
        assert torch.equal(generate_greedily(on_gpu, on_cuda(prompt), 12).cpu(), generate_greedily(on_cpu, prompt, 12))
    assert counted == {"capture": 3, "replay": 3 * 10}


def test_captured_texts_may_take_turns(both):
    on_cpu, on_gpu = both
    prompts = [random_prompt(seed, 12, 60) for seed in range(3)]
    assert in_turns(on_gpu, [on_cuda(prompt) for prompt in prompts], 20) == in_turns(on_cpu, prompts, 20)


def test_other_threads_may_use_the_device_meanwhile(both, counted, times):
    on_cpu, on_gpu = both
    on_cpu.eos_token_ids = on_gpu.eos_token_ids = ()
    done, failures = threading.Event(), []

    def work():
        try:
            with torch.cuda.stream(torch.cuda.Stream()):
                while not done.is_set():
                    big = torch.ones(512, 512, device="cuda")
                    (big @ big).sum().item()
                    torch.empty(2**24, device="cuda")
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for seed in range(times(30)):
            prompt = random_prompt(seed, 12)
            assert torch.equal(
                generate_greedily(on_gpu, on_cuda(prompt), 12).cpu(), generate_greedily(on_cpu, prompt, 12)
            )
    finally:
        done.set()
        thread.join()
    assert failures == []
    assert counted == {"capture": times(30), "replay": times(30) * 10}


def test_what_cannot_be_captured_runs_as_it_is(both, counted, caplog):
    on_cpu, on_gpu = both
    on_cpu.eos_token_ids = on_gpu.eos_token_ids = ()
    decoder = on_gpu.model.get_decoder()

    def wait(module, args, output):
        torch.cuda.current_stream().synchronize()

    hook = decoder.layers[0].register_forward_hook(wait)
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            prompt = random_prompt(seed, 12)
            assert torch.equal(
                generate_greedily(on_gpu, on_cuda(prompt), 12).cpu(), generate_greedily(on_cpu, prompt, 12)
            )
    hook.remove()
    assert counted == {"capture": 1, "replay": 0}
    [told] = [text for text in map(logging.LogRecord.getMessage, caplog.records) if "without a CUDA graph" in text]
    assert told.startswith("decoding runs without a CUDA graph: ") and "\n" not in told
    assert decoder in graph._refused


def test_short_texts_capture_nothing(both, counted):
    _, on_gpu = both
    for count in (1, 2):
        generate_greedily(on_gpu, on_cuda(random_prompt(0)), count)
    assert counted == {"capture": 0, "replay": 0}


def test_each_text_takes_the_memory_of_the_one_before(both, counted, monkeypatch):
    on_cpu, on_gpu = both
    on_cpu.eos_token_ids = on_gpu.eos_token_ids = ()
    pools, real = [], graph.GraphedSteps._record
    monkeypatch.setattr(
        graph.GraphedSteps, "_record", lambda self, one, pool: (pools.append((one, pool)), real(self, one, pool))
    )
    for seed, count in ((0, 9), (1, 30), (2, 3)):
        prompt = random_prompt(seed)
        ids = generate_greedily(on_gpu, on_cuda(prompt), count)
        assert torch.equal(ids.cpu(), generate_greedily(on_cpu, prompt, count))
    graphs = [one for one, _ in pools]
    assert [pool for _, pool in pools] == [None, graphs[0].pool(), graphs[1].pool()]
    assert counted == {"capture": 3, "replay": 7 + 28 + 1}


def test_where_memory_is_short_the_next_text_is_captured_again(both, counted, monkeypatch):
    on_cpu, on_gpu = both
    on_cpu.eos_token_ids = on_gpu.eos_token_ids = ()
    real, room = torch.cuda.CUDAGraph.capture_end, [False, True]

    def end(self):
        real(self)
        if not room.pop(0):
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda.CUDAGraph, "capture_end", end)
    for seed in range(2):
        prompt = random_prompt(seed)
        ids = generate_greedily(on_gpu, on_cuda(prompt), 6)
        assert torch.equal(ids.cpu(), generate_greedily(on_cpu, prompt, 6))
    assert counted == {"capture": 2, "replay": 4}


def test_captured_steps_do_not_gather_memory(both, times):
    _, on_gpu = both

    def run(seed):
        generate_greedily(on_gpu, on_cuda(random_prompt(seed, 12)), 20)
        torch.cuda.synchronize()

    for seed in range(times(40)):
        run(seed)
    before = torch.cuda.memory_reserved()
    for seed in range(times(500)):
        run(seed)
    assert torch.cuda.memory_reserved() == before


def test_norms_are_one_operation(both):
    _, on_gpu = both
    decoder = on_gpu.model.get_decoder()
    hidden = torch.randn(1, 1, 32, device="cuda")
    expected = decoder.norm(hidden)
    with FewerOperations(decoder), torch.profiler.profile() as profile:
        torch.testing.assert_close(decoder.norm(hidden), expected, rtol=1e-5, atol=1e-5)
    assert any("fused_rms_norm" in event.key for event in profile.key_averages())


def test_no_stream_of_the_common_pool_is_captured(monkeypatch):
    """Torch hands out 32 of a priority, round after round: the 33rd encoder's would be the one that is captured."""
    asked = {}
    monkeypatch.setattr(torch.cuda, "Stream", lambda device, **options: asked.update(options))
    graph._side_stream.__wrapped__(torch.device("cuda", 0))
    assert asked["priority"] < 0
