"""Which backend serves a call, and what the others say."""

import subprocess
import sys

import pytest
import torch

from rlivs_kernels import attention_column_sums, backends, cuda_module, decode_attention, triton_launch
from rlivs_kernels.ops.column_sums import triton as triton_column_sums
from rlivs_kernels.ops.decode_attention import triton as triton_decode

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
QUERY, KEY = torch.randn(1, 4, 3, 16), torch.randn(1, 2, 20, 16)


def sums(**options):
    return attention_column_sums(QUERY, KEY, column_range=(0, 10), query_start=17, **options)


def test_a_cpu_gets_torch():
    name, _ = backends.pick("column_sums", "auto", [QUERY], [KEY], {})
    assert name == "torch"
    assert torch.equal(sums(), sums(backend="torch"))


def test_cuda_names_its_limit_on_a_cpu():
    with pytest.raises(ValueError, match=r"backend 'cuda' cannot serve this call: .+; use backend='auto'"):
        sums(backend="cuda")


def test_triton_names_its_limits():
    call = {"column_range": (0, 10), "query_start": 17, "backend": "triton"}
    query, key = QUERY.to(DEVICE), KEY.to(DEVICE)
    with pytest.raises(ValueError, match="not float64"):
        attention_column_sums(query.double(), key.double(), **call)
    with pytest.raises(ValueError, match="head sizes up to 256, not 320"):
        attention_column_sums(query.repeat(1, 1, 1, 20), key.repeat(1, 1, 1, 20), **call)
    vast = torch.empty_strided((1, 4, 3, 16), (0, 2**29, 16, 1), device="meta")
    assert "one batch row over 2^31 elements" in triton_column_sums.limit(vast, key)
    assert "one batch row over 2^31 elements" in triton_decode.limit(vast, key)
    with pytest.raises(ValueError, match="softcaps up to 200, not 5000"):
        attention_column_sums(query, key, softcap=5000.0, **call)
    with pytest.raises(ValueError, match="softcaps up to 200, not 5000"):
        decode_attention(query[:, :, :1], key, key, key_lengths=3, softcap=5000.0, backend="triton")
    with pytest.raises(ValueError, match="not float64"):
        decode_attention(query[:, :, :1].double(), key.double(), key.double(), key_lengths=3, backend="triton")
    wide = torch.zeros(1, 1, 9, 320, device=DEVICE)
    with pytest.raises(ValueError, match="head sizes up to 256, not 320"):
        decode_attention(wide[:, :, :1], wide, wide, key_lengths=3, backend="triton")


def test_triton_names_batches_that_no_grid_holds():
    def batch(rows, heads=1):
        return torch.empty_strided((rows, heads, 1, 16), (16, 0, 16, 1), device="meta")

    limits = [
        triton_decode.limit(batch(65536), batch(65536)),
        triton_column_sums.limit(batch(16384), batch(16384), lse=None),
        triton_column_sums.limit(batch(9000, 8), batch(9000, 8), lse=[torch.zeros(9000, 8, 1)]),
    ]
    for limit, most, given in zip(limits, (65535, 16383, 8191), (65536, 16384, 9000), strict=True):
        assert limit == f"it takes batches up to {most} here, not {given}"
    assert "batches" not in str(triton_column_sums.limit(batch(9000, 8), batch(9000, 8), lse=None))


class DriverIsTooOld:
    """An extension whose runtime the driver does not know, as CUDA 13's is to a driver for 12."""

    @staticmethod
    def build_info():
        return {"architectures": "80;90", "nvcc": "13.0"}

    @staticmethod
    def DecodePlan(*arguments):
        raise RuntimeError("cudaGetDevice: cudaErrorInsufficientDriver, CUDA driver version is insufficient")


def test_an_extension_that_the_gpu_cannot_run_is_passed_over_with_its_reason(monkeypatch):
    monkeypatch.setattr(cuda_module, "load", lambda: DriverIsTooOld)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    cuda_module._refusal.cache_clear()
    try:
        limit = cuda_module.limit(torch.device("cuda", 0))
    finally:
        cuda_module._refusal.cache_clear()
    assert "does not run on this GPU: cudaGetDevice: cudaErrorInsufficientDriver" in limit
    assert "built by nvcc 13.0 for 80;90" in limit


def test_triton_names_a_cpu_where_nothing_interprets(monkeypatch):
    monkeypatch.setattr(triton_launch, "INTERPRETED", False)
    with pytest.raises(ValueError, match="it needs CUDA tensors, not cpu"):
        sums(backend="triton")
    with pytest.raises(ValueError, match="it needs CUDA tensors, not cpu"):
        decode_attention(QUERY[:, :, :1], KEY, KEY, key_lengths=3, backend="triton")


@pytest.mark.parametrize(
    ("head_dim", "dtype", "words"),
    [
        (48, torch.float16, "it serves head sizes 64, 80, 96, 128, 256, not 48"),
        (64, torch.float64, "it serves float16, bfloat16 and float32, not torch.float64"),
        (64, torch.float16, "it needs CUDA tensors, got cpu"),
    ],
)
def test_cuda_names_its_limits(head_dim, dtype, words):
    query, key = torch.zeros(1, 4, 1, head_dim, dtype=dtype), torch.zeros(1, 2, 20, head_dim, dtype=dtype)
    line = f"^backend 'cuda' cannot serve this call: {words}; use backend='auto'$"
    with pytest.raises(ValueError, match=line):
        attention_column_sums(query, key, column_range=(0, 9), query_start=19, backend="cuda")
    with pytest.raises(ValueError, match=line):
        decode_attention(query, key, key, key_lengths=20, backend="cuda")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(4, 2, 48), (65, 1, 16), (2, 1, 320), (7, 1, 64)], ids=str)
def test_auto_serves_what_each_of_the_others_refuses(device, dtype, shape):
    """Odd head sizes, wide groups, float64, strided head sizes: some backend takes every call."""
    heads, kv_heads, dim = shape
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, heads, 1, dim, generator=generator).to(dtype).to(device)
    key = torch.randn(2, kv_heads, dim, 20, generator=generator).to(dtype).to(device).transpose(2, 3)
    got = attention_column_sums(query, key, column_range=(0, 9), query_start=19)
    truth = attention_column_sums(query.double(), key.double(), column_range=(0, 9), query_start=19)
    torch.testing.assert_close(got.double(), truth, rtol=1e-4, atol=1e-9)
    _, lse = decode_attention(query, key, key, key_lengths=20)
    _, true_lse = decode_attention(query.double(), key.double(), key.double(), key_lengths=20)
    torch.testing.assert_close(lse.double(), true_lse, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the interpreter is used where there is no GPU")
def test_the_interpreter_names_its_limit():
    with pytest.raises(ValueError, match="cannot multiply bfloat16"):
        attention_column_sums(QUERY.bfloat16(), KEY.bfloat16(), column_range=(0, 10), query_start=17, backend="triton")


def test_the_first_backend_that_can_serve_is_taken(monkeypatch):
    monkeypatch.setitem(backends.PREFERENCES["cpu"], "column_sums", ("cuda", "triton", "torch"))
    monkeypatch.setattr(triton_column_sums, "limit", lambda query, key, **options: "it is tired")
    assert backends.pick("column_sums", "auto", [QUERY], [KEY], {})[0] == "torch"
    with pytest.raises(ValueError, match="it is tired"):
        sums(backend="triton")


def test_every_layer_must_suit_the_backend(monkeypatch):
    monkeypatch.setitem(backends.PREFERENCES["cpu"], "column_sums", ("triton", "torch"))
    odd = KEY[:, :, :7]
    limit = triton_column_sums.limit
    monkeypatch.setattr(
        triton_column_sums,
        "limit",
        lambda query, key, **options: "seven keys" if key.shape[2] == 7 else limit(query, key, **options),
    )
    assert backends.pick("column_sums", "auto", [QUERY] * 2, [KEY, odd], {})[0] == "torch"


def test_values_must_suit_the_backend_as_keys_do(monkeypatch):
    monkeypatch.setattr(triton_decode, "limit", lambda query, key, **options: "flat" if key.stride(-1) != 1 else None)
    turned = KEY.transpose(2, 3).contiguous().transpose(2, 3)
    with pytest.raises(ValueError, match="flat"):
        decode_attention(QUERY[:, :, :1], KEY, turned, key_lengths=20, backend="triton")


def test_without_triton_the_package_works_and_says_so():
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch, rlivs_kernels as rk\n"
        "q, k = torch.randn(1, 2, 1, 8), torch.randn(1, 1, 9, 8)\n"
        "rk.attention_column_sums(q, k, column_range=(0, 4), query_start=8)\n"
        "print(rk.environment_report()['backends']['column_sums']['limits']['triton'])\n"
        "try: rk.attention_column_sums(q, k, column_range=(0, 4), query_start=8, backend='triton')\n"
        "except ValueError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.count("it cannot be imported") == 2
