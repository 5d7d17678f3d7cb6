"""The least time a case can take on a chip: its bytes, products and exponentials over the chip's rates."""

from dataclasses import dataclass

from benchmarks.kernels.shapes import Case


@dataclass(frozen=True)
class Peaks:
    """Vendor data sheets: dense 16-bit matrix rate, memory bandwidth; exponentials are 16 a clock a multiprocessor."""

    flops: float
    bytes_per_second: float
    exponentials: float


PEAKS = {
    "A100": Peaks(312e12, 2.039e12, 16 * 108 * 1.41e9),
    "H100": Peaks(989e12, 3.35e12, 16 * 132 * 1.755e9),
    "H200": Peaks(989e12, 4.8e12, 16 * 132 * 1.755e9),
}
BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}


@dataclass(frozen=True)
class Work:
    flops: float
    bytes: float
    exponentials: float

    def seconds(self, peaks: Peaks) -> float:
        return max(
            self.flops / peaks.flops, self.bytes / peaks.bytes_per_second, self.exponentials / peaks.exponentials
        )


def work(case: Case, given_lse: bool = False) -> Work:
    """What the case must compute and move once. Column sums: pass A over all keys unless lse is given, and pass B."""
    model, size = case.model, BYTES[case.dtype]
    if case.operation == "decode_attention":
        products = case.batch * model.num_heads * case.keys
        moved = 2 * case.batch * model.num_kv_heads * case.keys * model.head_dim * size
        return Work(4.0 * products * model.head_dim, moved, products)
    rows = case.batch * model.num_heads * case.rows * case.layers
    products = rows * (case.columns if given_lse else case.columns + case.keys)
    keys_read = case.columns if given_lse else case.keys
    moved = size * model.head_dim * (rows + case.layers * case.batch * model.num_kv_heads * keys_read)
    return Work(2.0 * products * model.head_dim, moved, products)


def peaks_of(device_name: str) -> Peaks | None:
    """The data sheet of a GPU by its name; None for one that is not in the table."""
    return next((peaks for name, peaks in PEAKS.items() if name in device_name), None)
