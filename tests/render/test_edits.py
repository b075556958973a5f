from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.ops.sim3 import apply_sim3_to_cameras
from reconx.render.edits import check_renders, edit_renders, find_edits, take_renders
from reconx.render.points import render_scene
from reconx.trajectory.options import PathOptions
from reconx.trajectory.path import make_path
from reconx.types import CONFIDENT, PointRenders, Scene, Sim3


@pytest.fixture(scope="module")
def renders(plane_scene: Scene) -> PointRenders:
    path = make_path(plane_scene, PathOptions(kind="orbit", frames=4, orbit_radius=1.5))
    drawn = render_scene(plane_scene, path.cameras)
    assert drawn.hole.any()
    return drawn


def test_no_edit_is_no_change(renders: PointRenders):
    same = edit_renders(renders)
    assert not find_edits(same, renders).any()
    eight_bit = edit_renders(renders, (renders.colour * 255).round() / 255)
    assert not find_edits(eight_bit, renders).any()


def test_what_is_painted_and_erased_is_found(renders: PointRenders):
    colour, hole = renders.colour.clone(), renders.hole.clone()
    colour[1, 20:40, 30:50] = 1 - colour[1, 20:40, 30:50].round()  # over a surface and holes alike
    hole[1, 20:40, 30:50] = False
    hole[2, 30:40, 40:60] = True
    edited = edit_renders(renders, colour, hole)
    changed = find_edits(edited, renders)
    assert changed[1, 20:40, 30:50].all()
    assert torch.equal(changed[2, 30:40, 40:60], ~renders.hole[2, 30:40, 40:60])
    assert not changed[[0, 3]].any()
    painted = renders.hole & ~hole
    assert (edited.confidence[painted] == CONFIDENT).all()
    assert (edited.depth[painted] == 0).all()
    assert (edited.colour[hole] == 0).all()
    assert (edited.confidence[hole] == 1).all()


def test_frames_are_taken_at_another_size_without_mixing_in_holes(renders: PointRenders):
    frames = [2, 3, 3]
    small = take_renders(renders, frames, renders.cameras[frames].resized(32, 24))
    assert small.colour.shape == (3, 24, 32, 3)
    assert torch.equal(small.colour[1], small.colour[2])
    assert small.hole.float().mean() > renders.hole[frames].float().mean()
    # Three pixels make one: the darkest of nine is no darker than the surface's darkest.
    assert small.colour[~small.hole].min() > renders.colour[~renders.hole].min() - 0.01
    assert set(small.depth.unique().tolist()) <= set(renders.depth[frames].unique().tolist())


def test_renders_of_another_path_are_refused(renders: PointRenders):
    text = "Edited renders are 3 frames of 96 x 72; the path has 4 of 96 x 72"
    with pytest.raises(InputError, match=text):
        edit_renders(renders, renders.colour[:3])
    with pytest.raises(InputError, match="Edited holes are 4 frames of 96 x 36"):
        edit_renders(renders, None, renders.hole[:, :36])
    moved = Sim3(rotation=torch.eye(3), translation=torch.ones(3), scale=1.0)
    with pytest.raises(InputError, match="along another path"):
        check_renders(renders, apply_sim3_to_cameras(moved, renders.cameras))
    with pytest.raises(InputError, match="the path has 4 of 48 x 36"):
        check_renders(renders, replace(renders.cameras, width=48, height=36))
