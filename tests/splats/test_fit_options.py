"""What each option of the fit does to a whole, short fit."""

from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.ops.metrics import psnr
from reconx.ops.se3 import se3_exp
from reconx.render.gaussians import render_gaussians
from reconx.splats.fit import FitOptions, fit_gaussians
from reconx.splats.perceptual.detail import gradient_distance
from reconx.types import Gaussians, Scene, Views

OPTIONS = FitOptions(train_on_generated=True, steps=60, max_gaussians=2500)
FEW = replace(OPTIONS, steps=6)


def views_like_photos(scene: Scene, confidence: float = 10.0) -> Views:
    """Photo 0 as captured, then photos 1 and 2 as if they had been generated."""
    shape = scene.photos.images.shape[:3]
    return Views(
        frames=scene.photos.images,
        cameras=scene.photo_cameras,
        confidence=torch.full(shape, confidence),
        known=torch.ones(shape, dtype=torch.bool),
        photo_index=torch.tensor([0, -1, -1]),
    )


def quality(gaussians: Gaussians, scene: Scene, view: int) -> float:
    """PSNR in dB of a photo of the clean scene, over what the Gaussians cover."""
    drawn = render_gaussians(gaussians, scene.photo_cameras[view])
    covered = drawn.alpha > 0.9
    return psnr(drawn.colour.clamp(0, 1), scene.photos.images[view : view + 1], covered)


def with_photos(scene: Scene, images: torch.Tensor) -> Scene:
    return replace(scene, photos=replace(scene.photos, images=images))


def test_without_confidence_weights_every_pixel_counts(plane_scene: Scene):
    distrusted = replace(views_like_photos(plane_scene, 1.0), frames=1 - plane_scene.photos.images)
    weighted = fit_gaussians(plane_scene, distrusted, options=OPTIONS)
    uniform = replace(OPTIONS, confidence_weights=False)
    spoilt = fit_gaussians(plane_scene, distrusted, options=uniform)
    assert quality(weighted.gaussians, plane_scene, 1) > 5 + quality(
        spoilt.gaussians, plane_scene, 1
    )


def test_cameras_of_generated_frames_stay_when_told_so(plane_scene: Scene):
    views = views_like_photos(plane_scene)
    fixed = fit_gaussians(plane_scene, views, options=replace(FEW, refine_generated_poses=False))
    assert fixed.views is not None
    assert torch.equal(fixed.views.cameras.camera_to_world[1:], views.cameras.camera_to_world[1:])
    photos = fixed.scene.photo_cameras.camera_to_world
    assert not torch.equal(photos, plane_scene.photo_cameras.camera_to_world)


def test_moving_cameras_of_generated_frames_gains_where_they_are_wrong(plane_scene: Scene):
    views = views_like_photos(plane_scene)
    poses = views.cameras.camera_to_world.clone()
    poses[1:] = poses[1:] @ se3_exp(torch.tensor([0.006, -0.008, 0.0, 0.008, -0.006, 0.0]))
    shifted = replace(views, cameras=replace(views.cameras, camera_to_world=poses))
    moved, fixed = (
        fit_gaussians(
            plane_scene, shifted, options=replace(OPTIONS, steps=120, refine_generated_poses=moves)
        ).report["psnr_generated"]
        for moves in (True, False)
    )
    assert isinstance(moved, float)
    assert isinstance(fixed, float)
    assert moved > fixed + 0.5


@pytest.mark.parametrize("who", ["generated", "all"])
def test_frames_of_another_exposure_do_not_tint_the_scene(plane_scene: Scene, who: str):
    views = views_like_photos(plane_scene)
    darker = replace(views, frames=0.7 * views.frames)
    tinted, adapted = (
        fit_gaussians(plane_scene, darker, options=replace(OPTIONS, adapt_colours=chosen))
        for chosen in ("none", who)
    )
    for view in (0, 1):
        before = quality(tinted.gaussians, plane_scene, view)
        assert quality(adapted.gaussians, plane_scene, view) > before + 1


def test_with_uneven_exposures_the_scene_has_the_mean_one_all_over(plane_scene: Scene):
    images = plane_scene.photos.images.clone()
    images[1] = 0.7 * images[1]
    scene = with_photos(plane_scene, images)
    options = replace(OPTIONS, train_on_generated=False)
    tinted, adapted = (
        fit_gaussians(scene, options=replace(options, adapt_colours=chosen))
        for chosen in ("none", "all")
    )
    mean = with_photos(plane_scene, 0.9 * plane_scene.photos.images)
    for view in (0, 1):
        assert quality(adapted.surfaces, mean, view) > quality(tinted.surfaces, mean, view) + 0.25
    shown = adapted.report["psnr_captured"]
    assert isinstance(shown, dict)
    assert shown["view1.png"] > 25  # judged in its own exposure


def test_an_unknown_choice_of_colours_is_refused():
    with pytest.raises(InputError, match="adapt_colours 'some' is unknown. Choose one of: none"):
        FitOptions(adapt_colours="some")


def test_robust_masks_drop_a_thing_that_moved(plane_scene: Scene):
    rows, columns = slice(8, 28), slice(66, 86)
    images = plane_scene.photos.images.clone()
    images[1, rows, columns] = 1 - images[1, rows, columns]
    scene = with_photos(plane_scene, images)
    options = replace(OPTIONS, train_on_generated=False, steps=150, refine_poses=False)
    plain, robust = (
        fit_gaussians(scene, options=replace(options, robust_after=after)).gaussians
        for after in (1.0, 0.3)
    )
    clean = plane_scene.photos.images[1]

    def behind_it(gaussians: Gaussians) -> float:
        drawn = render_gaussians(gaussians, plane_scene.photo_cameras[1]).colour[0].clamp(0, 1)
        return psnr(drawn[rows, columns], clean[rows, columns])

    assert behind_it(robust) > behind_it(plain) + 3
    assert quality(robust, plane_scene, 0) > quality(plain, plane_scene, 0) - 0.1


def test_annealing_takes_the_say_from_frames_far_from_photos(plane_scene: Scene):
    views = views_like_photos(plane_scene)
    wrong = replace(views, frames=1 - views.frames)
    first = replace(
        plane_scene.photo_cameras, camera_to_world=views.cameras.camera_to_world[:1].repeat(3, 1, 1)
    )
    scene = replace(plane_scene, photo_cameras=first, cameras=first)
    plain, annealed = (
        fit_gaussians(scene, wrong, options=replace(OPTIONS, annealing=annealing))
        for annealing in (0.0, 15.0)
    )
    before = plain.report["psnr_generated"]
    after = annealed.report["psnr_generated"]
    assert isinstance(before, float)
    assert isinstance(after, float)
    assert after < before - 0.4
    assert quality(annealed.gaussians, scene, 0) > quality(plain.gaussians, scene, 0) + 0.4


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"robust_after": 1.2}, "robust_after is 1.2; expected between 0 and 1"),
        ({"annealing": -1.0}, "annealing is -1; expected at least 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, float], text: str):
    with pytest.raises(InputError, match=text):
        replace(OPTIONS, **options)


def test_the_perceptual_term_brings_detail(plane_scene: Scene):
    options = replace(
        OPTIONS, train_on_generated=False, background=False, adapt_colours="none", coarse_share=0.4
    )
    plain, sharp = (
        fit_gaussians(plane_scene, options=replace(options, perceptual_weight=weight)).gaussians
        for weight in (0.0, 2.0)
    )

    def steps_missed(gaussians: Gaussians) -> float:
        drawn = render_gaussians(gaussians, plane_scene.photo_cameras[0]).colour[0]
        return float(gradient_distance(drawn, plane_scene.photos.images[0]))

    assert steps_missed(sharp) < 0.985 * steps_missed(plain)
