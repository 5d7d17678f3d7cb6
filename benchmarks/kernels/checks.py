"""Whether a provider's result is right, before it is timed."""

import torch
from torch import Tensor

from benchmarks.kernels.column_sum_providers import Inputs, eager_softmax
from benchmarks.kernels.shapes import Case
from rlivs_kernels.ops.column_sums.reference import attention_column_sums_reference
from rlivs_kernels.ops.decode_attention.reference import decode_attention_reference

# Error of our kernels, relative to the largest true value; peers may have twice the error of same-dtype torch.
OURS = {"column_sums": 1e-4, "decode_attention": 0.0}
ADDED_SUMS = 1e-4  # of a step: relative, each column by itself; absolute below 1e-9 of the largest
LSE = 1e-5  # of a step: absolute


def truth(case: Case, data: Inputs, row: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Float64 result of one batch row, one KV head at a time: column means [N], or the step's out [Hq, D], added
    sums [N] and lse [Hq]."""
    group, parts, normalisers = case.group_size, [], []
    added = torch.zeros(1, case.columns, dtype=torch.float64, device=data.query_start.device)
    columns = (case.column_start, case.column_start + case.columns)
    for head in range(case.model.num_kv_heads):
        heads = slice(head * group, (head + 1) * group)
        queries = [q[row : row + 1, heads] for q in data.queries]
        keys = [k[row : row + 1, head : head + 1] for k in data.keys]
        if case.operation == "decode_attention":
            out, lse = decode_attention_reference(
                queries[0],
                keys[0],
                keys[1],
                key_lengths=case.keys,
                column_range=columns,
                column_sums=added,
                dtype=torch.float64,
            )
            parts.append(out[0, :, 0])
            normalisers.append(lse[0].flatten())
        else:
            sums = [
                attention_column_sums_reference(
                    query, key, column_range=columns, query_start=case.keys - case.rows, dtype=torch.float64
                )
                for query, key in zip(queries, keys, strict=True)
            ]
            parts.append(torch.stack(sums).mean(0)[0])
    if case.operation == "decode_attention":
        return torch.cat(parts), added[0], torch.cat(normalisers)
    return torch.stack(parts).mean(0), None, None


class Checker:
    """Holds the truth of a case's first and last batch row, and how far same-dtype torch is from it."""

    def __init__(self, case: Case, data: Inputs) -> None:
        self.case = case
        self.rows = sorted({0, case.batch - 1})
        self.truths = [truth(case, data, row) for row in self.rows]
        one = Inputs(
            [q[:1] for q in data.queries],
            [k[:1] for k in data.keys],
            data.column_start[:1],
            data.query_start[:1],
            data.key_lengths[:1],
        )
        if case.operation == "column_sums":
            plain = eager_softmax(case, one)()[0]
        else:
            out, _ = decode_attention_reference(
                one.queries[0], one.keys[0], one.keys[1], key_lengths=case.keys, dtype=one.queries[0].dtype
            )
            plain = out[0, :, 0]
        self.torch_error = self._relative(plain, self.truths[0][0])

    def error(self, result: Tensor | tuple[Tensor, ...]) -> float:
        """Largest error of the sums, or of a step's out, over the largest true value; NaN where it holds NaN."""
        main = result[0] if isinstance(result, tuple) else result
        if self.case.operation == "decode_attention":
            main = main[:, :, 0]
        errors = [self._relative(main[row], t) for row, (t, *_) in zip(self.rows, self.truths, strict=True)]
        return max(errors, key=lambda error: float("inf") if error != error else error)

    def allowed(self, provider: str) -> float:
        if provider.startswith("ours") and OURS[self.case.operation]:
            return OURS[self.case.operation]
        return 2 * self.torch_error + 1e-5

    def wrong(self, provider: str, result: Tensor | tuple[Tensor, ...]) -> str | None:
        """What is wrong with a provider's result; None where nothing is. A step that scores is called for the first
        time: the sums that it added are checked, too, and each part of a step by its own bound."""
        error, allowed = self.error(result), self.allowed(provider)
        if not error <= allowed:
            return f"its error is {error:.1e} of the largest value, allowed {allowed:.1e}"
        if self.case.operation != "decode_attention" or not isinstance(result, tuple):
            return None
        for row, (_, added, lse) in zip(self.rows, self.truths, strict=True):
            assert added is not None and lse is not None
            lse_off = (result[1][row].flatten().double() - lse).abs().max().item()
            if not lse_off <= LSE:
                return f"its lse is off by {lse_off:.1e}, allowed {LSE:.1e}"
            if len(result) == 3:
                off = (result[2][row].double() - added).abs() - 1e-9 * max(1.0, added.abs().max().item())
                worst = (off / added.abs()).max().item()
                if not worst <= ADDED_SUMS:
                    return f"its column sums are off by {worst:.1e} of a column's, allowed {ADDED_SUMS:.1e}"
        return None

    @staticmethod
    def _relative(result: Tensor, truth: Tensor) -> float:
        return ((result.double() - truth).abs().max() / truth.abs().max()).item()
