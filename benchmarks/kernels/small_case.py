"""A GPU backend once on a small case, with every option: what compute-sanitizer watches.

`python -m benchmarks.kernels.small_case [triton] [cuda]`, by default both. Results are compared with the reference on a
CPU, so that next to nothing but our kernels runs on the GPU.
"""

import sys

import torch

from benchmarks.kernels.in_blocks import in_blocks
from rlivs_kernels import attention_column_sums, decode_attention
from rlivs_kernels.ops.column_sums.reference import attention_column_sums_reference
from rlivs_kernels.ops.decode_attention.reference import decode_attention_reference

OPTIONS = ({}, {"softcap": 20.0, "sliding_window": 100}, {"per_head": True, "reduction": "max"})


def wrong_results(backend: str, dtype: torch.dtype) -> int:
    """How many of a backend's results are wrong; raises where it cannot serve the case."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    query = [normal(2, 14, 9, 128) for _ in range(2)]
    key = [normal(2, 333, 2, 128).transpose(1, 2) for _ in range(2)]
    on_gpu = [q.cuda() for q in query], [k.cuda() for k in key]
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    ranges = {"column_range": (11, 299), "query_start": [320, 310], "key_start": [0, 7]}
    errors = []
    for options in OPTIONS:
        sums = attention_column_sums(*on_gpu, backend=backend, row_mask=mask.cuda(), **ranges, **options)
        truth = attention_column_sums_reference(query, key, dtype=torch.float64, row_mask=mask, **ranges, **options)
        errors.append(relative(sums, truth))
    blocks, table = in_blocks(key)
    on_gpu_in_blocks = on_gpu[0], [each.cuda() for each in blocks]
    plain = {"column_range": (11, 299), "query_start": [320, 310]}
    sums = attention_column_sums(*on_gpu_in_blocks, backend=backend, block_table=table.cuda(), **plain)
    errors.append(relative(sums, attention_column_sums_reference(query, key, dtype=torch.float64, **plain)))

    step, lengths, columns = query[0][:, :, :1], torch.tensor([333, 120], dtype=torch.int32), (5, 205)
    true_added = torch.zeros(2, 200, dtype=torch.float64)
    _, true_lse = decode_attention_reference(
        step, *key, key_lengths=lengths, column_sums=true_added, column_range=columns, dtype=torch.float64
    )
    for caches, block_table in ((on_gpu[1], None), (on_gpu_in_blocks[1], table.cuda())):
        added = torch.zeros(2, 200).cuda()
        call = {"key_lengths": lengths.cuda(), "column_sums": added, "column_range": columns, "backend": backend}
        _, lse = decode_attention(step.cuda(), *caches, block_table=block_table, **call)
        errors += [relative(added, true_added), relative(lse, true_lse)]
    print(f"{backend} {dtype}: errors {', '.join(f'{error:.1e}' for error in errors)}")
    return sum(not error < 1e-4 for error in errors)


def relative(result: torch.Tensor, truth: torch.Tensor) -> float:
    return ((result.cpu() - truth).abs().max() / truth.abs().max()).item()


def main(backends: list[str]) -> int:
    wrong = sum(
        wrong_results(backend, dtype)
        for backend in backends or ["triton", "cuda"]
        for dtype in (torch.float16, torch.float32)
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
