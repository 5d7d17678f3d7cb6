"""Triton's interpreter where there is no GPU, for every test: Triton reads the variable when it is first imported."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
