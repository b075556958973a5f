import json
from dataclasses import replace

import pytest
import torch

from reconx.splats.estimate import estimate_fit
from reconx.splats.fit import FitOptions
from reconx.splats.report import report_text
from reconx.types import Scene, Views

OPTIONS = FitOptions(steps=1000, max_gaussians=4000)


def seconds(scene: Scene, options: FitOptions) -> float:
    return estimate_fit(scene, None, options).seconds


def test_time_follows_steps_gaussians_and_rasterizer(plane_scene: Scene):
    base = seconds(plane_scene, OPTIONS)
    assert base > 5
    assert seconds(plane_scene, replace(OPTIONS, steps=3000)) == pytest.approx(3 * base, rel=0.05)
    assert seconds(plane_scene, replace(OPTIONS, max_gaussians=8000)) > 1.2 * base
    assert seconds(plane_scene, replace(OPTIONS, sh_degree=3)) > 1.2 * base
    assert seconds(plane_scene, replace(OPTIONS, coarse_share=1.0)) < base
    assert seconds(plane_scene, replace(OPTIONS, rasterizer="torch")) > 1.5 * base


def test_no_more_gaussians_are_counted_than_there_are_points(plane_scene: Scene):
    all_points = replace(OPTIONS, max_gaussians=int(plane_scene.valid.sum()))
    more = replace(OPTIONS, max_gaussians=10_000_000)
    assert estimate_fit(plane_scene, None, more) == estimate_fit(plane_scene, None, all_points)


def test_generated_frames_count_where_they_train(plane_scene: Scene):
    cameras = plane_scene.photo_cameras.resized(960, 720)
    views = Views(
        frames=torch.zeros(3, 720, 960, 3),
        cameras=cameras,
        known=torch.zeros(3, 720, 960, dtype=torch.bool),
        photo_index=torch.tensor([0, -1, -1]),
    )
    alone = estimate_fit(plane_scene, None, OPTIONS)
    assert estimate_fit(plane_scene, views, OPTIONS) == alone
    trained = estimate_fit(plane_scene, views, replace(OPTIONS, train_on_generated=True))
    assert trained.seconds > 2 * alone.seconds
    assert trained.megabytes > 10 * alone.megabytes


def test_frames_count_more_where_nobody_has_judged_them(plane_scene: Scene):
    unjudged = Views(
        frames=plane_scene.photos.images,
        cameras=plane_scene.photo_cameras,
        known=plane_scene.valid,
        photo_index=torch.tensor([0, -1, -1]),
    )
    judged = replace(unjudged, confidence=torch.full(plane_scene.valid.shape, 10.0))
    options = replace(OPTIONS, train_on_generated=True)
    more = estimate_fit(plane_scene, unjudged, options).seconds
    assert more > estimate_fit(plane_scene, judged, options).seconds + 1
    unweighed = replace(options, confidence_weights=False)
    less = estimate_fit(plane_scene, unjudged, unweighed)
    assert less == estimate_fit(plane_scene, judged, unweighed)


def test_the_report_is_json_with_short_numbers():
    report = {"steps": 40, "psnr_captured": {"a.png": 23.48392105}, "psnr_generated": None}
    text = report_text(report)
    assert json.loads(text) == {**report, "psnr_captured": {"a.png": 23.48}}
    assert "\n" in text
