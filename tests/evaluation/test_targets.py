"""Scores of single pictures."""

import torch

from reconx.evaluation.scores import Row, TargetScore
from reconx.evaluation.targets import Target, with_lpips
from reconx.splats.perceptual.lpips import make_alexnet
from reconx.types import Cameras


def test_lpips_is_measured_where_the_photo_tells() -> None:
    torch.manual_seed(0)
    picture = torch.rand(64, 64, 3)
    half = torch.ones(64, 64, dtype=torch.bool)
    half[:, 32:] = False
    other = torch.where(half[..., None], picture, 1 - picture)
    pairs = [(picture, half | True), (other, half), (other, half | True)]
    camera = Cameras(camera_to_world=torch.eye(4)[None], K=torch.eye(3)[None], width=64, height=64)
    targets = [
        Target(name=str(number), camera=camera, photo=photo, valid=valid)
        for number, (photo, valid) in enumerate(pairs)
    ]
    scores = {"psnr": 1.0, "ssim": 1.0, "covered": 1.0, "psnr_covered": 1.0, "psnr_unrefined": 1.0}
    row = Row(
        name="fit",
        meaning="",
        scores=tuple(TargetScore(photo=it.name, picture=picture, **scores) for it in targets),
    )
    assert with_lpips(row, targets, None) is row
    found = [score.lpips for score in with_lpips(row, targets, make_alexnet()).scores]
    assert found[:2] == [0, 0]
    assert found[2] is not None
    assert found[2] > 0.1
