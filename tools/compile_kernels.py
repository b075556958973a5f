"""Compile the CPU kernels now; every later process, a running ComfyUI's too, loads them.

Without, each process that needs them first compiles them all: every worker of a test run.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from reconx.geometry.stereo.matcher import DepthRange, Phase, StereoView, make_matcher
from reconx.render.trial import prepare_rasterizer
from reconx.splats.losses import prepare_loss
from reconx.types import Cameras

WIDTH, HEIGHT = 24, 16


def compile_rasterizer() -> None:
    """Compile what draws Gaussians, and its gradients."""
    prepare_rasterizer("numba")


def compile_matcher() -> None:
    """Compile dense stereo, by matching two tiny views."""
    view, source = _make_view(0.0), _make_view(0.1)
    matcher = make_matcher("numba", view, [source], DepthRange(low=0.5, high=2.0))
    depth = torch.ones(HEIGHT, WIDTH)
    planes = torch.stack([depth, torch.zeros_like(depth), torch.zeros_like(depth)])
    matcher.improve(planes, None, Phase(level=0, rounds=1, sigmas=(1.0,), sweep=2), seed=0)
    matcher.inspect(planes, [depth])


def main() -> None:
    """Compile two at once: no compiler uses a second processor."""
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        works = (compile_rasterizer, compile_matcher, prepare_loss)
        for compiled in [processes.submit(work) for work in works]:
            compiled.result()


def _make_view(x: float) -> StereoView:
    pose = torch.eye(4)
    pose[0, 3] = x
    K = torch.tensor([[WIDTH, 0.0, WIDTH / 2], [0.0, WIDTH, HEIGHT / 2], [0.0, 0.0, 1.0]])
    camera = Cameras(camera_to_world=pose[None], K=K[None], width=WIDTH, height=HEIGHT)
    ramp = torch.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    return StereoView(camera=camera, grey=ramp, image=ramp[..., None].repeat(1, 1, 3))


if __name__ == "__main__":
    main()
