"""Peak memory of scoring a caption: plain sdpa, sdpa with the tap, and eager attention with `output_attentions`.

    python benchmarks/pipeline/scoring_memory.py [--out benchmarks/results/scoring_memory.csv]

The attention shape is LLaVA-OneVision 7B's for one clip of 16 frames: 3136 visual columns, 28 query heads, 4 KV heads,
head size 128, four layers, all of them scored. Weights are random and the MLPs narrow (they do not matter to
attention). Each provider runs in a process of its own and reports the highest resident memory the kernel saw.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

PROVIDERS = ("sdpa", "ours", "eager")
COLUMNS, PREFIX, SUFFIX, NEW_TOKENS, LAYERS = 3136, 14, 20, 64, 4


def run(provider: str) -> float:
    """Generate a caption under one provider; peak resident memory in MiB."""
    import torch
    from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    import rlivs

    torch.manual_seed(0)
    config = Qwen2Config(
        hidden_size=3584,
        num_attention_heads=28,
        num_key_value_heads=4,
        num_hidden_layers=LAYERS,
        intermediate_size=256,
        vocab_size=256,
        max_position_embeddings=8192,
    )
    attention = "eager" if provider == "eager" else "sdpa"
    model = Qwen2ForCausalLM._from_config(config, attn_implementation=attention, dtype=torch.float32).eval()
    embeds = torch.randn(1, PREFIX + COLUMNS + SUFFIX, config.hidden_size) * 0.02
    columns = slice(PREFIX, PREFIX + COLUMNS)
    settings = GenerationConfig(max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0)
    inputs = {"inputs_embeds": embeds, "attention_mask": torch.ones(embeds.shape[:2], dtype=torch.long)}
    if provider == "ours":
        with torch.no_grad(), rlivs.patch(model, layers="all") as tap, tap.clip(columns=columns):
            out = model.generate(**inputs, generation_config=settings)
            scores = tap.scores(out)
    elif provider == "eager":
        with torch.no_grad():
            out = model.generate(
                **inputs, generation_config=settings, output_attentions=True, return_dict_in_generate=True
            )
        # One row a step: the last prompt row, then each new token's.
        rows = [torch.stack([layer[0, :, -1, columns] for layer in step]) for step in out.attentions]
        scores = torch.stack(rows).mean(dim=(0, 1, 2))[None]
    else:
        model.generate(**inputs, generation_config=settings)
        scores = None
    if scores is not None:
        assert scores.shape == (1, COLUMNS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=PROVIDERS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "scoring_memory.csv")
    arguments = parser.parse_args()
    if arguments.provider:
        print(run(arguments.provider))
        return
    peaks = {}
    for provider in PROVIDERS:
        command = [sys.executable, __file__, "--provider", provider]
        environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
        peaks[provider] = float(
            subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        )
        extra = peaks[provider] - peaks["sdpa"]
        print(f"{provider:>6}: peak {peaks[provider]:8.1f} MiB, {extra:+9.1f} MiB against plain sdpa", flush=True)
    import torch
    import transformers

    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["provider", "peak_mib", "extra_mib", "columns", "heads", "layers", "device", "torch", "transformers"]
        )
        for provider, peak in peaks.items():
            row = [provider, f"{peak:.1f}", f"{peak - peaks['sdpa']:.1f}", COLUMNS, "28/4", LAYERS, platform.machine()]
            writer.writerow([*row, torch.__version__, transformers.__version__])


if __name__ == "__main__":
    main()
