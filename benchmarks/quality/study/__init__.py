"""The quality study: the paper's ablations on a world whose truth is known. `python -m benchmarks.quality.study`."""
