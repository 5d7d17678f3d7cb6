"""Training of the tiny LLaVA-OneVision checkpoint, from scratch, on a CPU."""
