"""Attention column sums of a caption over chosen prompt columns, read off a running model."""

from rlivs.scoring.patch import Handle, patch

__all__ = ["Handle", "patch"]
