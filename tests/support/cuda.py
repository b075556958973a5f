"""What tests need that run on a graphics card."""

from collections.abc import Callable
from typing import Any

import pytest
import torch


def needs_cuda(test: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a test `gpu`; where torch finds no CUDA device it is skipped."""
    reason = "torch finds no CUDA device"
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason=reason)(test))
