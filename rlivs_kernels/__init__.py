"""Attention column sums and scoring decode attention: tensors in, tensors out."""

from rlivs_kernels.environment import environment_report
from rlivs_kernels.ops.column_sums.api import attention_column_sums
from rlivs_kernels.ops.decode_attention.api import decode_attention
from rlivs_kernels.selection import select_top_tokens

__version__ = "0.1.0"
__all__ = ["__version__", "attention_column_sums", "decode_attention", "environment_report", "select_top_tokens"]
