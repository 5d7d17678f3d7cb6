"""Each GPU backend once on a small case, with every option: what compute-sanitizer watches."""

import sys

import torch

from rlivs_kernels import attention_column_sums, backends, decode_attention
from rlivs_kernels.ops.column_sums.reference import attention_column_sums_reference


def main() -> int:
    torch.manual_seed(0)
    query = [torch.randn(2, 14, 9, 128, device="cuda", dtype=torch.float16) for _ in range(2)]
    key = [torch.randn(2, 333, 2, 128, device="cuda", dtype=torch.float16).transpose(1, 2) for _ in range(2)]
    mask = torch.arange(9, device="cuda") < torch.tensor([[9], [4]], device="cuda")
    ranges = {"column_range": (11, 299), "query_start": [320, 310], "key_start": [0, 7], "row_mask": mask}
    wrong = 0
    for backend in ("triton", "cuda"):
        reason = backends.limit("column_sums", backend, query, key, {})
        if reason is not None:
            print(f"{backend}: {reason}")
            wrong += backend == "triton"
            continue
        for options in ({}, {"softcap": 20.0, "sliding_window": 100}, {"per_head": True, "reduction": "max"}):
            sums = attention_column_sums(query, key, backend=backend, **ranges, **options)
            truth = attention_column_sums_reference(query, key, dtype=torch.float64, **ranges, **options)
            error = ((sums - truth).abs().max() / truth.abs().max()).item()
            print(f"{backend} {options}: error {error:.1e}")
            wrong += not error < 1e-4
        added = torch.zeros(2, 200, device="cuda")
        lengths = torch.tensor([333, 120], dtype=torch.int32, device="cuda")
        decode_attention(
            query[0][:, :, :1],
            key[0],
            key[1],
            key_lengths=lengths,
            column_sums=added,
            column_range=(5, 205),
            backend=backend,
        )
        torch.cuda.synchronize()
        wrong += not bool(added.isfinite().all())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
