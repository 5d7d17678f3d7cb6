"""The CUDA kernels: on a GPU, and without one on the emulator of csrc/emulation, which runs the very sources.

Tiles, fragments, masks, splits, workspace, barriers and asynchronous copies are the same on both; the properties are
those every backend is held to. Speed, registers and what nvcc makes of it the emulator does not show.
"""

import importlib.util
import subprocess
import sys
from functools import partial
from pathlib import Path

import kernel_checks
import pytest
import torch
from compiler import needs_compiler

from rlivs_kernels import attention_column_sums, backends, cuda_module, decode_attention
from rlivs_kernels.ops.column_sums import cuda as column_sums_cuda

ROOT = Path(__file__).parents[2]
EMULATION = ROOT / "csrc" / "emulation"
HALF, BFLOAT16, SINGLE = torch.float16, torch.bfloat16, torch.float32

# One worker builds, and the emulator has one set of threads.
pytestmark = [
    pytest.mark.xdist_group("cuda_emulation"),
    needs_compiler,
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator's fibers are written for Linux"),
]


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def builder():
    return load("emulation_build", EMULATION / "build.py")


@pytest.fixture(scope="module")
def emulated(builder, once):
    """Objects are kept between runs; the folder is but a place to wait for the worker that compiles them."""
    once("emulator", lambda folder: builder.build())
    return load(builder.MODULE, builder.build())


@pytest.fixture
def emulator(emulated, monkeypatch):
    """The public functions with backend="cuda", on CPU tensors."""
    monkeypatch.setattr(cuda_module, "load", lambda: emulated)
    monkeypatch.setattr(cuda_module, "limit", lambda device: None)
    monkeypatch.setattr(cuda_module, "current_stream", lambda device: 0)
    monkeypatch.setattr(cuda_module, "shared_memory", lambda device: 160 * 1024)
    emulated.set_seed(7)
    emulated.set_multiprocessors(4)
    yield emulated
    assert emulated.statistics()["conflicting_matrix_loads"] == 0, "ldmatrix meets bank conflicts"


@pytest.fixture(params=["emulator", pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "gpu":
        return "cuda"
    request.getfixturevalue("emulator")
    return "cpu"


column_sums = partial(attention_column_sums, backend="cuda")
step = partial(decode_attention, backend="cuda")


@pytest.mark.parametrize("multiprocessors", [4, 132])
@pytest.mark.parametrize("dtype", [HALF, BFLOAT16, SINGLE], ids=str)
@pytest.mark.parametrize("check", kernel_checks.COLUMN_SUM_CHECKS, ids=lambda check: check.__name__)
def test_column_sums(emulator, check, dtype, multiprocessors):
    """On a GPU, test_column_sums.py holds the same kernels to the same properties."""
    emulator.set_multiprocessors(multiprocessors)
    check(column_sums, "cpu", dtype)


@pytest.mark.parametrize("multiprocessors", [4, 132])
@pytest.mark.parametrize("dtype", [HALF, BFLOAT16, SINGLE], ids=str)
@pytest.mark.parametrize("check", kernel_checks.DECODE_CHECKS, ids=lambda check: check.__name__)
def test_decode_attention(emulator, check, dtype, multiprocessors):
    emulator.set_multiprocessors(multiprocessors)
    check(step, "cpu", dtype)


@pytest.mark.parametrize("dtype", [HALF, BFLOAT16, SINGLE], ids=str)
@pytest.mark.parametrize(
    ("heads", "rows", "keys", "dim"),
    [
        ((1, 1), 1, 1, 64),
        ((4, 2), 3, 37, 80),
        ((4, 1), 65, 129, 96),
        ((14, 2), 37, 300, 128),
        ((8, 1), 33, 64, 64),
        ((7, 1), 20, 140, 256),
    ],
)
def test_column_sum_shapes(device, heads, rows, keys, dim, dtype):
    kernel_checks.serves_group(column_sums, device, dtype, heads, rows, keys, dim)


@pytest.mark.parametrize("dtype", [HALF, BFLOAT16, SINGLE], ids=str)
@pytest.mark.parametrize(
    ("heads", "keys", "dim"),
    [((1, 1), 1, 64), ((4, 2), 37, 80), ((28, 4), 300, 128), ((9, 1), 70, 64), ((34, 2), 65, 96), ((17, 1), 130, 256)],
)
def test_decode_shapes(device, heads, keys, dim, dtype):
    kernel_checks.step_serves_group(step, device, dtype, heads, keys, dim)


def test_more_layers_than_a_launch_holds(device):
    query, key = kernel_checks.tensors(device, HALF, batch=1, heads=(2, 1), rows=2, keys=40, layers=35)
    kernel_checks.compare(column_sums, query, key, column_range=(0, 30), query_start=37)


def turned(tensor):
    return tensor.transpose(2, 3).contiguous().transpose(2, 3)


def shifted(tensor):
    """The same values, not at a multiple of 16 bytes."""
    memory = torch.zeros(tensor.numel() + 1, dtype=tensor.dtype, device=tensor.device)[1:]
    return memory.view(tensor.shape).copy_(tensor)


@pytest.mark.parametrize(
    ("change", "words"), [(turned, "stride 150 along the head size; it needs 1"), (shifted, "multiples of 16 bytes")]
)
def test_layouts_that_cannot_be_read_are_refused_by_name_and_served_by_another(monkeypatch, device, change, words):
    monkeypatch.setitem(backends.PREFERENCES, "cpu", backends.PREFERENCES["cuda"])
    query, key = kernel_checks.tensors(device, HALF, layers=2)
    ranges = {"column_range": (0, 140), "query_start": 145}
    odd = change(key[1])
    with pytest.raises(ValueError, match=f"backend 'cuda' cannot serve this call: key .*{words}"):
        column_sums(query, [key[0], odd], **ranges)
    assert backends.pick("column_sums", "auto", query, key, {})[0] == "cuda"
    assert backends.pick("column_sums", "auto", query, [key[0], odd], {})[0] != "cuda"
    expected = column_sums(query, key, **ranges)
    served = attention_column_sums(query, [key[0], odd], **ranges)
    torch.testing.assert_close(served, expected, rtol=1e-4, atol=1e-9)
    row = query[0][:, :, -1:]
    with pytest.raises(ValueError, match=words):
        step(row, key[0], odd, key_lengths=150)
    out, lse = decode_attention(row, key[0], odd, key_lengths=150)
    expected_out, expected_lse = step(row, key[0], key[1], key_lengths=150)
    torch.testing.assert_close(out, expected_out, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(lse, expected_lse, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_threads_changes_no_bit(emulator, seed):
    query, key = kernel_checks.tensors("cpu", BFLOAT16, heads=(14, 2), rows=30)
    emulator.set_seed(0)
    first = column_sums(query[0], key[0], column_range=(3, 110), query_start=120)
    emulator.set_seed(seed + 1)
    assert torch.equal(column_sums(query[0], key[0], column_range=(3, 110), query_start=120), first)


def test_the_work_is_split(emulator):
    """On the emulator's four multiprocessors, and the splits depend on shapes alone."""
    shape = (0, 0, 1, 1, 7, 1, 10, 700, 100, 64, False, False)
    plan, again = emulator.ColumnSumsPlan(*shape), emulator.ColumnSumsPlan(*shape)
    assert plan.key_splits > 1 and plan.row_splits > 1
    assert (plan.key_splits, plan.row_splits) == (again.key_splits, again.row_splits)
    assert emulator.DecodePlan(0, 0, 1, 7, 1, 700, 300, 64).splits > 1


def test_the_workspace_of_a_clip_stays_small(emulator):
    """LLaVA-OneVision-7B: four layers, 256 rows, 3,136 of 6,430 keys."""
    plan = emulator.ColumnSumsPlan(0, 1, 4, 1, 28, 4, 256, 6430, 3136, 128, False, False)
    assert plan.workspace_bytes < 8 * 2**20


def test_the_limits_are_named():
    query, key = kernel_checks.tensors("cpu", HALF, dim=64)
    assert "CUDA tensors" in column_sums_cuda.limit(query[0], key[0])
    assert "head sizes" in column_sums_cuda.limit(query[0][..., :48], key[0][..., :48])
    assert "float64" in column_sums_cuda.limit(query[0].double(), key[0].double())


def test_the_emulator_finds_flaws(builder, tmp_path):
    """Otherwise a green run above would say little."""
    sources = [EMULATION / "simt.cpp", EMULATION / "flaws.cpp"]
    objects = builder.compile_all(sources)
    program = tmp_path / "flaws"
    subprocess.run([builder.COMPILER, *map(str, objects), "-o", str(program)], check=True)
    output = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    found = dict(line.split(": ", 1) for line in output.splitlines())
    assert found.pop("correct") == "nothing"
    expected = {
        "copy_not_waited_for": "before its asynchronous copy was waited for",
        "barrier_missing_before_a_read": ("a barrier is missing", "nothing wrote"),
        "warp_barrier_across_warps": ("a barrier is missing", "nothing wrote"),
        "barrier_missing_before_a_write": "a barrier is missing",
        "read_of_what_nothing_wrote": "nothing wrote",
        "outside_shared_memory": "outside the block's shared memory",
        "barrier_in_a_branch": "never reach",
    }
    assert found.keys() == expected.keys()
    for name, words in expected.items():
        assert any(each in found[name] for each in ([words] if isinstance(words, str) else words)), found[name]
