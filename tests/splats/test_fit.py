import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.ops.metrics import psnr
from reconx.ops.projection import project_points
from reconx.ops.se3 import se3_exp
from reconx.ops.sh import SH_C0
from reconx.progress import Preview
from reconx.render.gaussians import render_gaussians
from reconx.render.rasterizers.registry import choose_rasterizer
from reconx.render.threads import one_torch_thread
from reconx.render.trial import prepare_rasterizer
from reconx.splats.confidence.base import judge_views
from reconx.splats.confidence.registry import make_source
from reconx.splats.fit import FitOptions, fit_gaussians
from reconx.splats.placing import place_gaussians
from reconx.splats.sway import sway_around
from reconx.types import FitResult, Gaussians, Scene, Views

BUDGET = 2500
# Without colour maps, so that what the fit shows inside is what it hands on.
OPTIONS = FitOptions(train_on_generated=True, steps=60, max_gaussians=BUDGET, adapt_colours="none")
SHORT = replace(OPTIONS, steps=6)


def picture_of(gaussians: Gaussians, scene: Scene, view: int) -> torch.Tensor:
    return render_gaussians(gaussians, scene.photo_cameras[view]).colour.clamp(0, 1)


def test_view_dependent_colours_are_learned_as_well_as_constant_ones(plane_scene: Scene) -> None:
    """On the CPU, Adam would take a view of a tensor for all of it."""
    options = FitOptions(steps=40, max_gaussians=BUDGET)
    found = [
        fit_gaussians(plane_scene, options=replace(options, sh_degree=degree)).report
        for degree in (0, 2)
    ]
    constant, dependent = (report["psnr_captured"]["view1.png"] for report in found)
    assert dependent > constant - 0.3


def two_photos(scene: Scene) -> Scene:
    """Photos 0 and 1; the third serves as a held-out view."""
    photos = scene.photos
    return replace(
        scene,
        photos=replace(
            photos,
            images=photos.images[:2],
            valid=photos.valid[:2],
            names=photos.names[:2],
            original_sizes=photos.original_sizes[:2],
            to_original=photos.to_original[:2],
        ),
        photo_cameras=scene.photo_cameras[:2],
        cameras=scene.cameras[:2],
        points=scene.points[:2],
        confidence=scene.confidence[:2],
        valid=scene.valid[:2],
    )


def views_like_photos(scene: Scene, confidence: float) -> Views:
    """Photo 0 as captured, then photos 1 and 2 as if they had been generated."""
    shape = scene.photos.images.shape[:3]
    return Views(
        frames=scene.photos.images,
        cameras=scene.photo_cameras,
        confidence=torch.full(shape, confidence),
        known=torch.ones(shape, dtype=torch.bool),
        photo_index=torch.tensor([0, -1, -1]),
    )


def assert_same_bytes(a: FitResult, b: FitResult) -> None:
    for name in ("means", "quats", "scales", "opacities", "sh"):
        assert torch.equal(getattr(a.gaussians, name), getattr(b.gaussians, name)), name
    here, there = a.scene.photo_cameras, b.scene.photo_cameras
    assert torch.equal(here.camera_to_world, there.camera_to_world)


@pytest.fixture(scope="module")
def fitted(plane_scene: Scene) -> FitResult:
    return fit_gaussians(two_photos(plane_scene), options=OPTIONS)


def test_the_fit_gains_on_captured_and_held_out_views(plane_scene: Scene, fitted: FitResult):
    start = place_gaussians(two_photos(plane_scene), max_gaussians=BUDGET)
    for view, gain in ((0, 3.0), (1, 3.0), (2, 1.0)):
        image = plane_scene.photos.images[view : view + 1]
        # Photo 2 shows borders that the other two do not.
        covered = render_gaussians(start, plane_scene.photo_cameras[view]).alpha > 0.9
        before = psnr(picture_of(start, plane_scene, view), image, covered)
        after = psnr(picture_of(fitted.gaussians, plane_scene, view), image, covered)
        assert after > before + gain, f"view {view}: {before:.1f} to {after:.1f} dB"


def test_the_report_tells_what_came_out(plane_scene: Scene, fitted: FitResult):
    report = fitted.report
    assert set(report) == {
        "steps",
        "loss",
        "gaussians",
        "psnr_captured",
        "psnr_generated",
        "seconds",
        "peak_memory_mb",
        "rasterizer",
    }
    assert report["steps"] == 60
    assert report["gaussians"] == len(fitted.gaussians)
    assert report["psnr_generated"] is None
    captured = report["psnr_captured"]
    assert isinstance(captured, dict)
    assert set(captured) == {"view0.png", "view1.png"}
    shown = psnr(picture_of(fitted.gaussians, fitted.scene, 1), plane_scene.photos.images[1:2])
    assert captured["view1.png"] == pytest.approx(shown, abs=1e-3)


def test_values_are_activated(fitted: FitResult):
    gaussians = fitted.gaussians
    norms = torch.linalg.vector_norm(gaussians.quats, dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    assert (gaussians.scales > 0).all()
    assert ((gaussians.opacities > 0) & (gaussians.opacities < 1)).all()
    assert not gaussians.means.requires_grad


def test_photo_zero_stays_and_points_move_with_their_cameras(plane_scene: Scene, fitted: FitResult):
    before, after = plane_scene.photo_cameras, fitted.scene.photo_cameras
    assert torch.equal(after.camera_to_world[0], before.camera_to_world[0])
    assert not torch.equal(after.camera_to_world[1], before.camera_to_world[1])
    assert torch.equal(fitted.scene.cameras.camera_to_world, after.camera_to_world)
    pixels, _ = project_points(fitted.scene.points[1], after.viewmats[1], after.K[1])
    torch.testing.assert_close(pixels[10, 20], torch.tensor([20.5, 10.5]), atol=1e-2, rtol=0)


def test_same_seed_same_bytes_other_seed_other_bytes(plane_scene: Scene):
    first = fit_gaussians(plane_scene, options=SHORT, seed=3)
    assert_same_bytes(first, fit_gaussians(plane_scene, options=SHORT, seed=3))
    other = fit_gaussians(plane_scene, options=SHORT, seed=4)
    assert not torch.equal(first.gaussians.means, other.gaussians.means)


def test_no_gaussian_is_darker_than_black_or_brighter_than_white(plane_scene: Scene):
    fitted = fit_gaussians(plane_scene, options=OPTIONS)
    colours = 0.5 + SH_C0 * fitted.gaussians.sh[:, 0]
    assert -1e-6 < float(colours.min())
    assert float(colours.max()) < 1 + 1e-6


def test_a_wrong_camera_is_brought_back(plane_scene: Scene):
    poses = plane_scene.photo_cameras.camera_to_world.clone()
    push = 2 * torch.tensor([0.006, -0.008, 0.004, 0.008, -0.006, 0.0])
    poses[1] = poses[1] @ se3_exp(push)
    valid = plane_scene.valid.clone()
    valid[1] = False  # its points would hold it where it stands
    scene = replace(
        plane_scene,
        photo_cameras=replace(plane_scene.photo_cameras, camera_to_world=poses),
        cameras=replace(plane_scene.cameras, camera_to_world=poses),
        valid=valid,
    )
    refined = fit_gaussians(scene, options=replace(OPTIONS, steps=250)).scene.photo_cameras

    def error(camera_to_world: torch.Tensor) -> float:
        """Median shift in pixels of the points that photo 1 sees."""
        camera = replace(plane_scene.photo_cameras[1], camera_to_world=camera_to_world[None])
        seen, _ = project_points(plane_scene.points[1], camera.viewmats[0], camera.K[0])
        true_camera = plane_scene.photo_cameras[1]
        true, _ = project_points(plane_scene.points[1], true_camera.viewmats[0], true_camera.K[0])
        return float(torch.linalg.vector_norm(seen - true, dim=-1).median())

    assert error(poses[1]) > 1.6
    assert error(refined.camera_to_world[1]) < 0.5 * error(poses[1])


def test_cameras_stay_when_told_so(plane_scene: Scene):
    result = fit_gaussians(plane_scene, options=replace(SHORT, refine_poses=False))
    assert torch.equal(result.scene.cameras.camera_to_world, plane_scene.cameras.camera_to_world)
    assert torch.equal(result.scene.points, plane_scene.points)


def test_generated_frames_without_confidence_change_nothing(plane_scene: Scene):
    scene = two_photos(plane_scene)
    views = views_like_photos(plane_scene, confidence=1.0)
    corrupted = replace(views, frames=1 - views.frames)
    alone = fit_gaussians(scene, options=SHORT)
    assert_same_bytes(alone, fit_gaussians(scene, views, options=SHORT))
    assert_same_bytes(alone, fit_gaussians(scene, corrupted, options=SHORT))


def test_corrupted_pixels_of_weight_zero_change_nothing(plane_scene: Scene):
    scene = two_photos(plane_scene)
    views = views_like_photos(plane_scene, confidence=10.0)
    confidence = torch.full_like(views.frames[..., 0], 10.0)
    confidence[:, 20:50, 30:70] = 1.0
    views = replace(views, confidence=confidence)
    frames = torch.where(confidence[..., None] > 1, views.frames, 1 - views.frames)
    options = replace(SHORT, coarse_share=0.0)
    clean = fit_gaussians(scene, views, options=options)
    assert_same_bytes(clean, fit_gaussians(scene, replace(views, frames=frames), options=options))


def test_trusted_generated_frames_train(plane_scene: Scene):
    scene = two_photos(plane_scene)
    views = views_like_photos(plane_scene, confidence=10.0)
    held_out = plane_scene.photos.images[2:]
    alone = fit_gaussians(scene, views, options=replace(OPTIONS, train_on_generated=False))
    result = fit_gaussians(scene, views, options=OPTIONS)
    assert psnr(picture_of(result.gaussians, plane_scene, 2), held_out) > 0.5 + psnr(
        picture_of(alone.gaussians, plane_scene, 2), held_out
    )
    assert isinstance(result.report["psnr_generated"], float)
    assert result.views is not None
    poses = result.views.cameras.camera_to_world
    assert torch.equal(poses[0], result.scene.photo_cameras.camera_to_world[0])
    assert not torch.equal(poses[2], views.cameras.camera_to_world[2])


def test_unjudged_frames_are_judged_by_agreement(
    plane_scene: Scene, caplog: pytest.LogCaptureFixture
):
    scene = two_photos(plane_scene)
    unjudged = replace(views_like_photos(plane_scene, 1.0), confidence=None)
    with caplog.at_level("INFO", logger="reconx"):
        result = fit_gaussians(scene, unjudged, options=SHORT)
    assert caplog.text.count("Nobody has judged the generated frames") == 1
    judged = judge_views(unjudged, scene, make_source("agreement"))
    assert_same_bytes(result, fit_gaussians(scene, judged, options=SHORT))
    assert judged.confidence is not None
    assert result.views is not None
    assert result.views.confidence is not None
    assert torch.equal(result.views.confidence, judged.confidence)


def test_views_of_photos_alone_need_no_judge(plane_scene: Scene):
    captured = replace(
        views_like_photos(plane_scene, 1.0), confidence=None, photo_index=torch.tensor([0, 1, 0])
    )
    result = fit_gaussians(two_photos(plane_scene), captured, options=SHORT)
    assert result.report["psnr_generated"] is None


@pytest.mark.parametrize("off", ["train_on_generated", "confidence_weights"])
def test_nobody_judges_where_confidence_weighs_nothing(plane_scene: Scene, off: str):
    unjudged = replace(views_like_photos(plane_scene, 1.0), confidence=None)
    options = replace(SHORT, **{off: False})
    result = fit_gaussians(two_photos(plane_scene), unjudged, options=options)
    assert result.views is not None
    assert result.views.confidence is None


def test_view_dependent_colour_is_fitted(plane_scene: Scene):
    result = fit_gaussians(plane_scene, options=replace(SHORT, sh_degree=1))
    assert result.gaussians.sh_degree == 1
    assert result.gaussians.sh[:, 1:].any()


class Watcher:
    """Keeps what it is told and looks at every preview."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.done: list[list[int]] = []
        self.totals: list[int] = []
        self.previews: list[torch.Tensor] = []

    def start(self, stage: str, total: int) -> "Watcher":
        self.stages.append(stage)
        self.totals.append(total)
        self.done.append([])
        return self

    def update(self, done: int, preview: Preview | None = None) -> None:
        self.done[-1].append(done)
        if preview is not None:
            self.previews.append(preview())


def test_progress_hears_every_step_and_picture(plane_scene: Scene):
    watcher = Watcher()
    views = views_like_photos(plane_scene, confidence=10.0)
    fit_gaussians(plane_scene, views, options=SHORT, progress=watcher)
    # The first fit of a process prepares the rasterizer before.
    assert watcher.stages[-3:] == ["Placing Gaussians", "Fitting Gaussians", "Judging the fit"]
    for done, total in zip(watcher.done, watcher.totals, strict=True):
        assert done == sorted(done)
        assert done[-1] == total
    assert watcher.done[-2:] == [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5]]


def test_the_preview_sways_around_the_scene(plane_scene: Scene):
    watcher = Watcher()
    result = fit_gaussians(plane_scene, options=SHORT, progress=watcher)
    assert len(watcher.previews) == 6
    cameras = sway_around(plane_scene)
    # The last preview shows the Gaussians as they came out, from the sway's sixth camera.
    shown = render_gaussians(result.gaussians, cameras[5]).colour[0].clamp(0, 1)
    torch.testing.assert_close(watcher.previews[-1], shown, atol=1e-4, rtol=0)
    assert not torch.equal(watcher.previews[-2], watcher.previews[-1])
    steps = torch.linalg.vector_norm(cameras.centers - cameras.centers.roll(1, 0), dim=-1)
    assert steps.max() < 0.06  # of the scene's depth: slow, and without a jump at the end


def test_where_no_orbit_is_the_preview_stays(plane_scene: Scene, caplog: pytest.LogCaptureFixture):
    looking_down = replace(plane_scene, up=plane_scene.cameras.camera_to_world[0, :3, 2])
    centred = replace(plane_scene.cameras, camera_to_world=torch.eye(4).repeat(3, 1, 1))
    with caplog.at_level("INFO", logger="reconx"):
        camera = sway_around(replace(looking_down, cameras=centred, photo_cameras=centred))
    assert "preview stays at photo 0" in caplog.text
    assert torch.equal(camera.camera_to_world, torch.eye(4)[None])


def test_the_report_names_the_rasterizer_as_registered(plane_scene: Scene):
    for name in ("numba", "torch"):
        options = replace(SHORT, steps=1, rasterizer=name)
        assert fit_gaussians(plane_scene, options=options).report["rasterizer"] == name


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Torch with three threads, wherever and with how many this runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_torch_threads_are_restored(plane_scene: Scene):
    class Stopping:
        def start(self, stage: str, total: int) -> "Stopping":
            return self

        def update(self, done: int, preview: Preview | None = None) -> None:
            assert torch.get_num_threads() == 1
            raise KeyboardInterrupt

    prepare_rasterizer(choose_rasterizer())  # or else that would be the first to be told of
    with pytest.raises(KeyboardInterrupt):
        fit_gaussians(plane_scene, options=SHORT, progress=Stopping())
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_overlapping_fits_bring_all_threads_back():
    """The one that began later ends later: on its own it would bring back the one thread it met."""
    first, second = one_torch_thread("cpu"), one_torch_thread("cpu")
    first.__enter__()
    second.__enter__()
    assert torch.get_num_threads() == 1
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_two_fits_and_a_render_at_once_are_each_as_if_alone(plane_scene: Scene):
    alone = fit_gaussians(plane_scene, options=SHORT)
    picture = picture_of(alone.gaussians, plane_scene, 1)
    with ThreadPoolExecutor(3) as pool:
        fits = [pool.submit(fit_gaussians, plane_scene, options=SHORT) for _ in range(2)]
        renders = [pool.submit(picture_of, alone.gaussians, plane_scene, 1) for _ in range(20)]
        for render in renders:
            assert torch.equal(render.result(), picture)
        for fit in fits:
            assert_same_bytes(alone, fit.result())
    assert torch.get_num_threads() == 3


def test_a_scene_with_broken_photos_is_refused(plane_scene: Scene):
    images = plane_scene.photos.images.clone()
    images[:, 3, 4] = math.nan
    broken = replace(plane_scene, photos=replace(plane_scene.photos, images=images))
    with pytest.raises(InputError, match="diverged at step 1"):
        fit_gaussians(broken, options=SHORT)


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match="Fit steps is 0; expected at least 1"):
        FitOptions(steps=0)
    with pytest.raises(InputError, match=r"coarse_share is 1.5; expected between 0 and 1"):
        FitOptions(coarse_share=1.5)


def test_an_unknown_rasterizer_is_refused(plane_scene: Scene):
    with pytest.raises(InputError, match="Rasterizer 'opengl' is unknown. Choose one of"):
        fit_gaussians(plane_scene, options=replace(SHORT, rasterizer="opengl"))
