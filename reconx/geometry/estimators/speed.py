"""How fast a device works, so that an estimator can tell what it will cost."""

import time

import torch
from torch import Tensor

_TRIAL_SIDE, _TRIALS = 1024, 3


def matmul_speed(like: Tensor) -> float:
    """Operations per second of a matrix product, where and as a network works.

    Args:
        like: One of the network's tensors: its device and dtype are tried.
    """
    matrix = torch.ones(_TRIAL_SIDE, _TRIAL_SIDE, device=like.device, dtype=like.dtype)
    shortest = torch.inf  # of several: the first use of a device takes longer
    for _ in range(_TRIALS):
        began = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # a number: so that it waits until the device is done
        shortest = min(shortest, time.perf_counter() - began)
    return 2 * _TRIAL_SIDE**3 / shortest
