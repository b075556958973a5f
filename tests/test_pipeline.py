"""Stages in order, on a scene that is exact: who judges the frames, and where that is told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reconx import pipeline
from reconx.geometry.dust3r.checkpoint import CheckpointFacts
from reconx.geometry.dust3r.config import NetworkConfig
from reconx.geometry.dust3r.model import Dust3rModel
from reconx.geometry.dust3r.network import Dust3rNetwork
from reconx.pipeline import Reconstruction, ReconstructOptions, reconstruct
from reconx.progress import Progress
from reconx.results import save_reconstruction
from reconx.splats.confidence.base import judge_views
from reconx.splats.confidence.registry import make_source
from reconx.splats.fit import FitOptions
from reconx.trajectory.options import PathOptions
from reconx.types import Cameras, Photos, Scene
from reconx.video.base import BackboneSpec, Clip, ClipRequest

TINY = NetworkConfig(
    patch=16,
    encoder_width=128,
    encoder_depth=1,
    decoder_width=64,
    decoder_depth=2,
    mlp_ratio=2,
    dpt=None,
)
OPTIONS = ReconstructOptions(
    path=PathOptions(frames=4), fit=FitOptions(steps=2, max_gaussians=1000)
)


class KnownGeometry:
    """Finds the scene that it was given."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def estimate(self, photos: Photos, progress: Progress) -> Scene:
        return self.scene


class Unjudging:
    """Shows the point renders, and does not say how sure it is."""

    spec = BackboneSpec(name="plain", factory="", keyframes="any", renders="native")

    def fit_cameras(self, cameras: Cameras) -> Cameras:
        return cameras

    def generate_clip(self, request: ClipRequest, progress: Progress) -> Clip:
        return Clip(frames=request.renders.colour, confidence=None)


@pytest.fixture
def scene(plane_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """What every estimator finds."""
    known = KnownGeometry(plane_scene)
    monkeypatch.setattr(pipeline, "make_estimator", lambda *_, **__: known)
    return plane_scene


def told_of_frames(result: Reconstruction, folder: Path) -> dict[str, str]:
    save_reconstruction(result, folder, overwrite=False)
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))["frames"]


def test_frames_that_nobody_judged_are_judged_by_the_source(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipeline, "make_backbone", lambda *_: Unjudging())
    result = reconstruct(scene.photos, options=replace(OPTIONS, backbone="wan-vace"))
    stages = ["photos", "geometry", "path", "frames", "confidence", "fit"]
    assert list(result.usage) == stages
    judged = judge_views(result.views, scene, make_source("agreement"))
    assert judged.confidence is not None
    assert result.views.confidence is not None
    assert torch.equal(result.views.confidence, judged.confidence)
    told = {"backbone": "wan-vace", "confidence": "agreement"}
    assert told_of_frames(result, tmp_path / "out") == told


def test_the_network_of_the_estimator_judges_too(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    facts = CheckpointFacts(name="tiny", config=TINY, long_side=64, licence="none")
    model = Dust3rModel(Dust3rNetwork(TINY).eval(), facts)
    monkeypatch.setattr(pipeline, "load_model", lambda *_: model)
    monkeypatch.setattr(pipeline, "make_backbone", lambda *_: Unjudging())
    weights = {"estimator": "dust3r", "checkpoint": Path("tiny.safetensors")}
    options = replace(OPTIONS, backbone="wan-vace", confidence="pairwise", **weights)
    result = reconstruct(scene.photos, options=options)
    judged = judge_views(result.views, scene, make_source("pairwise", model=model))
    assert judged.confidence is not None
    assert result.views.confidence is not None
    assert torch.equal(result.views.confidence, judged.confidence)
    told = {"backbone": "wan-vace", "confidence": "pairwise"}
    assert told_of_frames(result, tmp_path / "out") == told


def test_frames_that_their_backbone_judged_stay_so(scene: Scene, tmp_path: Path) -> None:
    result = reconstruct(scene.photos, options=OPTIONS)
    assert "confidence" not in result.usage
    told = {"backbone": "small", "confidence": "small"}
    assert told_of_frames(result, tmp_path / "out") == told
