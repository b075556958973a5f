"""A fit that was stopped goes on to the same bytes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reconx.errors import InputError
from reconx.progress import Preview
from reconx.splats.fit import FitOptions, fit_gaussians
from reconx.splats.fit.checkpoint import FitCheckpoint
from reconx.types import FitResult, Scene, Views

OPTIONS = FitOptions(
    train_on_generated=True,
    steps=24,
    max_gaussians=1500,
    sh_degree=1,
    adapt_colours="all",
    robust_after=0.3,
    annealing=15.0,
)


class StoppedError(Exception):
    """What a face raises to stop."""


class StopsAt:
    """Stops the fit after a step."""

    def __init__(self, step: int) -> None:
        self.step, self.fitting = step, False
        self.seen: list[int] = []

    def start(self, stage: str, total: int) -> "StopsAt":
        self.fitting = stage == "Fitting Gaussians"
        return self

    def update(self, done: int, preview: Preview | None = None) -> None:
        if self.fitting:
            self.seen.append(done)
            if done == self.step:
                raise StoppedError


def frames_of(scene: Scene) -> Views:
    shape = scene.photos.images.shape[:3]
    return Views(
        frames=scene.photos.images,
        cameras=scene.photo_cameras,
        confidence=torch.full(shape, 5.0),
        known=torch.ones(shape, dtype=torch.bool),
        photo_index=torch.tensor([0, -1, -1]),
    )


def fit(scene: Scene, path: Path | None, options: FitOptions = OPTIONS, stop: int = 0) -> FitResult:
    views, progress = frames_of(scene), StopsAt(stop)
    return fit_gaussians(scene, views, options=options, seed=5, checkpoint=path, progress=progress)


def assert_same_bytes(a: FitResult, b: FitResult) -> None:
    for name in ("means", "quats", "scales", "opacities", "sh"):
        assert torch.equal(getattr(a.gaussians, name), getattr(b.gaussians, name)), name
    for one, other in ((a.scene.cameras, b.scene.cameras), (a.views, b.views)):
        one, other = (it.cameras if isinstance(it, Views) else it for it in (one, other))
        assert one is not None
        assert other is not None
        assert torch.equal(one.camera_to_world, other.camera_to_world)
    varying = ("seconds", "peak_memory_mb")
    kept = [{k: v for k, v in it.report.items() if k not in varying} for it in (a, b)]
    assert kept[0] == kept[1]


# Before, at and after the change from half to full size, and after all steps.
@pytest.mark.parametrize("step", [1, 10, 17, 24])
def test_a_stopped_fit_goes_on_to_the_same_bytes(plane_scene: Scene, tmp_path: Path, step: int):
    path = tmp_path / "fit.checkpoint"
    with pytest.raises(StoppedError):
        fit(plane_scene, path, stop=step)
    progress = StopsAt(0)
    resumed = fit_gaussians(
        plane_scene,
        frames_of(plane_scene),
        options=OPTIONS,
        seed=5,
        checkpoint=path,
        progress=progress,
    )
    assert progress.seen == list(range(step + 1, 25))
    assert_same_bytes(resumed, fit(plane_scene, None))


def test_a_killed_fit_goes_on_from_what_was_written_last(
    plane_scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "fit.checkpoint"
    monkeypatch.setattr("reconx.splats.fit.checkpoint.EVERY_SECONDS", 0.0)
    write, count = FitCheckpoint.write, 0

    def write_seven(self: FitCheckpoint, state: dict[str, object]) -> None:
        nonlocal count
        count += 1
        if count <= 7:  # what comes later never reached the disk
            write(self, state)

    monkeypatch.setattr(FitCheckpoint, "write", write_seven)
    with pytest.raises(StoppedError):
        fit(plane_scene, path, stop=12)
    assert torch.load(path, weights_only=True)["state"]["step"] == 7
    monkeypatch.setattr(FitCheckpoint, "write", write)
    assert_same_bytes(fit(plane_scene, path), fit(plane_scene, None))
    assert [it.name for it in tmp_path.iterdir()] == ["fit.checkpoint"]


@pytest.fixture
def stopped(plane_scene: Scene, tmp_path: Path) -> Path:
    path = tmp_path / "fit.checkpoint"
    with pytest.raises(StoppedError):
        fit(plane_scene, path, stop=3)
    return path


def test_a_checkpoint_of_other_options_is_named(plane_scene: Scene, stopped: Path):
    with pytest.raises(
        InputError, match=r"fit\.checkpoint' belongs to a fit with steps 24 and not 30"
    ):
        fit(plane_scene, stopped, replace(OPTIONS, steps=30))


def test_a_checkpoint_of_another_scene_is_named(plane_scene: Scene, stopped: Path):
    images = plane_scene.photos.images.clone()
    images[0, 0, 0, 0] += 0.01
    other = replace(plane_scene, photos=replace(plane_scene.photos, images=images))
    with pytest.raises(InputError, match="belongs to a fit with scene .* and not"):
        fit(other, stopped)


def test_a_truncated_or_damaged_checkpoint_is_named(plane_scene: Scene, stopped: Path):
    whole = stopped.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], bytes(flipped), b"", b"no checkpoint"):
        stopped.write_bytes(content)
        with pytest.raises(InputError, match=r"fit\.checkpoint' is cut short, damaged or no fit's"):
            fit(plane_scene, stopped)


def test_another_file_of_torch_is_named(plane_scene: Scene, stopped: Path):
    torch.save({"weights": torch.ones(3)}, stopped)
    with pytest.raises(InputError, match="damaged or no fit's"):
        fit(plane_scene, stopped)
