"""The attention shapes that are timed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """Attention of a language model; scored_layers of its layers feed the column sums (rLiVS: 4 of 28)."""

    name: str
    layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    scored_layers: int = 4


MODELS = (
    # First what counts most, where time is short.
    Model("llava-onevision-7b, qwen2.5-vl-7b", 28, 28, 4, 128),
    Model("llava-onevision-0.5b", 24, 14, 2, 64),
)
BATCHES = (1, 8, 32)
# 6,430 keys: a prompt of 16 memory slots and one clip of LLaVA-OneVision, and its caption.
ONE_CLIP_KEYS = 6430
KEYS = (1024, 4096, ONE_CLIP_KEYS, 16384, 65536)
VISUAL_COLUMNS = 3136  # 16 frames x 196 tokens
CAPTION_ROWS = 256


@dataclass(frozen=True)
class Case:
    """One timed call. rows is 1 for decode; the columns end just before the rows."""

    operation: str  # column_sums or decode_attention
    model: Model
    batch: int
    keys: int
    rows: int
    columns: int
    dtype: str = "bfloat16"

    @property
    def layers(self) -> int:
        return self.model.scored_layers if self.operation == "column_sums" else 1

    @property
    def column_start(self) -> int:
        return self.keys - self.rows - self.columns

    @property
    def one_clip(self) -> bool:
        """Whether it holds one clip's keys or fewer; caches in blocks are timed at these alone."""
        return self.keys <= ONE_CLIP_KEYS

    @property
    def group_size(self) -> int:
        return self.model.num_heads // self.model.num_kv_heads


def cases(operation: str, quick: bool = False) -> list[Case]:
    """All cases of an operation; quick keeps one clip's shape and one batched one of each model, and the largest
    batch of decode steps."""
    rows = CAPTION_ROWS if operation == "column_sums" else 1
    found = []
    for model in MODELS:
        for batch in BATCHES:
            for keys in KEYS:
                largest = 32 if operation == "decode_attention" else 8
                if quick and (keys != ONE_CLIP_KEYS or batch > largest):
                    continue
                found.append(Case(operation, model, batch, keys, rows, min(VISUAL_COLUMNS, keys - 2 * rows)))
    return found


def small_cases(operation: str) -> list[Case]:
    """What a CPU can run in a second: the shipped checkpoint's shape and a short prompt of the 0.5B model."""
    tiny = Model("tiny-onevision", 4, 6, 2, 32, scored_layers=4)
    if operation == "column_sums":
        return [
            Case(operation, tiny, 1, 600, 30, 128, "float32"),
            Case(operation, MODELS[1], 1, 1024, 64, 512, "float32"),
        ]
    return [Case(operation, tiny, 1, 600, 1, 128, "float32"), Case(operation, MODELS[1], 1, 4096, 1, 3136, "float32")]
