"""The stand-in of a GPU finds what it is there to find."""

import threading

import pytest
import torch
from compiler import needs_compiler
from stand_in_gpu import GpuTensor, Race, stand_in_gpu

pytestmark = [needs_compiler, pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")]


@pytest.fixture
def device():
    with stand_in_gpu() as device:
        yield device


def numbers(*shape):
    return torch.arange(1.0, 1 + torch.Size(shape).numel(), device="cuda").reshape(shape)


def captured(work):
    """A graph of `work`, which is captured on a stream of its own."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph


def test_without_it_there_is_no_gpu():
    with stand_in_gpu():
        assert torch.cuda.is_available() and torch.ones(2).cuda().device == torch.device("cuda", 0)
    assert not torch.cuda.is_available()
    with pytest.raises((RuntimeError, AssertionError, NotImplementedError)):
        torch.ones(2).to("cuda")


def test_what_is_computed_is_what_a_cpu_computes(device):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.GELU())
    given = torch.randn(2, 3, 8)
    with torch.no_grad():
        expected = model(given)
        model.to("cuda")
        found = model(given.cuda())
        heads = given.cuda().view(2, 1, 3, 8).expand(2, 4, 3, 8)
        attended = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
    assert isinstance(found, GpuTensor) and all(parameter.is_cuda for parameter in model.parameters())
    torch.testing.assert_close(found.cpu(), expected)
    plain = given.view(2, 1, 3, 8).expand(2, 4, 3, 8)
    expected = torch.nn.functional.scaled_dot_product_attention(plain, plain, plain, is_causal=True)
    torch.testing.assert_close(attended.cpu(), expected)
    with torch.inference_mode():
        assert torch.equal(torch.tensor([3, 1], device="cuda").sort().values.cpu(), torch.tensor([1, 3]))


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x + torch.ones(2, 3),
        lambda x: x @ torch.ones(3, 1),
        lambda x: torch.cat([x, torch.ones(2, 3)]),
        lambda x: torch.ones(2, 3).add_(x),
        lambda x: torch.nn.functional.embedding(torch.tensor([0]), x),
        lambda x: x.index_select(0, torch.tensor([0])),
        lambda x: torch.where(torch.tensor([True, False, True]), x, 0.0),
    ],
)
def test_operands_on_two_devices_are_refused(device, work):
    with pytest.raises(RuntimeError, match="at least two devices"):
        work(numbers(2, 3))


def test_a_number_from_the_host_is_taken(device):
    x = numbers(2, 3)
    x.add_(torch.tensor(2.0)).mul_(3).masked_fill_(x > 10, torch.tensor(0.0))
    assert x.tolist() == [[9.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    x[0, 1] = torch.tensor(5.0)
    assert x[torch.tensor([0])].tolist() == [[9.0, 5.0, 0.0]]


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: x.cpu(),
        lambda x: x[x > 2],
        lambda x: bool((x > 2).any()),
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: x.copy_(torch.ones(2, 3)),
        lambda x: torch.tensor([1.0], device="cuda"),
        lambda x: torch.cuda.current_stream().synchronize(),
    ],
)
def test_waits_are_counted_and_end_a_capture(device, read):
    x = numbers(2, 3)
    before = len(device.waits)
    read(x)
    assert len(device.waits) == before + 1
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        captured(lambda: read(x))


def test_what_is_launched_is_not_waited_for(device):
    x = numbers(2, 3)
    device.waits.clear()
    index = (x.sum(0) > 5).long()
    x.index_copy_(0, index[:1], x[1:] * 2).clamp_(max=7).argmax(-1)
    assert device.waits == []


def test_a_capture_leaves_no_trace_and_a_replay_does_its_work(device):
    x, total = numbers(2, 3), torch.zeros(2, device="cuda")
    made = []

    def step():
        made.append(x.sum(1) * 2)
        total.add_(made[0])

    graph = captured(step)
    assert total.tolist() == [0, 0] and made[0].isnan().all()
    graph.replay()
    graph.replay()
    assert total.tolist() == [24, 60] and made[0].tolist() == [12, 30]
    x.zero_()
    graph.replay()
    assert total.tolist() == [24, 60]


def test_graphs_of_one_pool_share_their_memory(device):
    x, results = numbers(3), []
    first = captured(lambda: results.append(x * 2))
    second = torch.cuda.CUDAGraph()
    with torch.cuda.graph(second, pool=first.pool()):
        results.append(x * 3)
    first.replay()
    assert results[0].tolist() == [2, 4, 6]
    second.replay()
    assert results[1].tolist() == [3, 6, 9] and results[0].isnan().all()


def test_a_graph_whose_tensors_have_gone(device):
    total = torch.zeros(3, device="cuda")

    def add(x):
        total.add_(x)

    given = [numbers(3)]
    graph = captured(lambda: add(*given))
    graph.replay()
    given.clear()
    with pytest.raises(Race, match="has gone"):
        graph.replay()


def test_a_capture_needs_a_stream_of_its_own(device):
    with pytest.raises(RuntimeError, match="non-default stream"):
        torch.cuda.CUDAGraph().capture_begin()


def test_work_on_two_streams_is_ordered_by_waiting(device):
    x, side = numbers(3), torch.cuda.Stream()
    with torch.cuda.stream(side), pytest.raises(Race, match="does not wait for"):
        x + 1
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        y = x + 1
        done = side.record_event()
    with pytest.raises(Race):
        x.zero_()
    torch.cuda.current_stream().wait_event(done)
    x.zero_()
    assert y.tolist() == [2, 3, 4]
    y.record_stream(torch.cuda.current_stream())


def test_a_wait_of_the_host_orders_all(device):
    x, side = numbers(3), torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        x.add_(1)
    side.synchronize()
    assert x.tolist() == [2, 3, 4]


def test_memory_freed_under_another_stream(device):
    side = torch.cuda.Stream()
    for recorded in (False, True):
        x = numbers(3)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            x + 1
        if recorded:
            x.record_stream(side)
        del x
        faults, device.faults = device.faults, []
        assert bool(faults) is not recorded


def test_faults_that_nothing_can_raise_are_raised_at_the_end():
    with pytest.raises(AssertionError, match="freed under stream"), stand_in_gpu():
        side, x = torch.cuda.Stream(), numbers(3)
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            x + 1
        del x


def test_a_copy_nobody_waits_for_comes_later(device):
    arrived = torch.zeros(3, 2, pin_memory=True)
    x = numbers(2)
    arrived[1].copy_(x, non_blocking=True)
    x.zero_()
    assert arrived.tolist() == [[0, 0]] * 3
    event = torch.cuda.Event()
    event.record()
    event.synchronize()
    assert arrived.tolist() == [[0, 0], [1, 2], [0, 0]]
    pageable = torch.zeros(2)
    pageable.copy_(x, non_blocking=True)
    assert pageable.tolist() == [0, 0] and device.waits


def test_events_may_come_early_or_late(device):
    answers = set()
    for _ in range(20):
        numbers(2)
        event = torch.cuda.Event()
        event.record()
        answers.add(event.query())
    assert answers == {True, False}


def test_other_threads_have_the_gpu_too(device):
    found = []

    def work():
        with torch.cuda.stream(torch.cuda.Stream()):
            found.append(torch.tensor([1.0, 2.0], device="cuda").sum().item())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3.0] * 3 and torch.cuda.current_stream() is torch.cuda.default_stream()


def test_memory_is_counted(device):
    before = torch.cuda.memory_allocated()
    x = torch.zeros(1000, device="cuda")
    view = x[10:]
    assert torch.cuda.memory_allocated() == before + 4000
    del x
    assert torch.cuda.memory_allocated() == before + 4000
    del view
    assert torch.cuda.memory_allocated() == before and torch.cuda.max_memory_allocated() >= before + 4000
