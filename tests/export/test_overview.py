from dataclasses import replace

import pytest
import torch

from reconx.errors import InputError
from reconx.export.colour_maps import GLOW, RAINBOW, apply_colour_map
from reconx.export.overview import PathPictures, draw_overview
from reconx.export.plan import PANEL, PATH_COLOUR, PHOTO_COLOUR, PLACE_COLOUR, draw_plan
from reconx.export.sheet import BACKGROUND, GAP, MARGIN, SHEET_WIDTH, Section, Tile, draw_sheet
from reconx.ops.sim3 import apply_sim3_to_cameras, apply_sim3_to_points
from reconx.types import Cameras, NextPhoto, Overlap, Scene, Sim3


def bytes_of(picture: torch.Tensor) -> torch.Tensor:
    return (picture * 255).round().to(torch.int16)


def near(picture: torch.Tensor, colour: tuple[int, int, int], tolerance: int = 24) -> torch.Tensor:
    """True where a picture has about a colour."""
    return ((bytes_of(picture) - torch.tensor(colour, dtype=torch.int16)).abs() <= tolerance).all(
        dim=-1
    )


def position_of(mask: torch.Tensor) -> torch.Tensor:
    """Mean (x, y) of the true pixels."""
    return mask.nonzero().float().mean(dim=0).flip(0) + 0.5


@pytest.mark.parametrize("stops", [RAINBOW, GLOW])
def test_colour_maps_hit_their_stops_and_hold_at_the_ends(stops):
    values = torch.linspace(0, 1, len(stops))
    torch.testing.assert_close(apply_colour_map(values, stops) * 255, stops.float())
    ends = apply_colour_map(torch.tensor([-3.0, 7.0]), stops) * 255
    torch.testing.assert_close(ends, stops[[0, -1]].float())
    middle = apply_colour_map(torch.tensor(0.5 / (len(stops) - 1)), stops) * 255
    torch.testing.assert_close(middle, stops[:2].float().mean(dim=0))


def test_sheet_places_pictures_in_their_columns():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    row = [
        Tile(picture=(torch.tensor(colour) / 255).expand(30, 40, 3), caption="x" * 60)
        for colour in colours
    ]
    section = Section(heading="Colours", rows=[row, row[:1]], columns=3, tile_height=90)
    page = draw_sheet("Title", [section])
    assert page.shape[1] == SHEET_WIDTH
    assert bytes_of(page[0, 0]).tolist() == list(BACKGROUND)
    for column, colour in enumerate(colours):
        found = near(page, colour).nonzero()
        # 90 high makes 120 wide, but captions get 220: the pictures start 220 + gap apart, or
        # wider where the column is.
        assert int(found[:, 1].min()) == MARGIN + column * (220 + GAP)
        assert int(found[:, 1].max() - found[:, 1].min()) == 119
    assert near(page, colours[0]).sum() == 2 * 90 * 120
    # A caption that is too long ends before its neighbour's place.
    text = (bytes_of(page).min(dim=-1).values > 120).any(dim=0)
    assert not text[MARGIN + 221 : MARGIN + 220 + GAP].any()


def test_sheet_refuses_rows_that_are_too_long():
    row = [Tile(picture=torch.zeros(2, 2, 3), caption="")] * 3
    with pytest.raises(InputError, match="A row of 'Wide' has 3 tiles; expected at most 2"):
        draw_sheet("Title", [Section(heading="Wide", rows=[row], columns=2, tile_height=90)])


def make_path(scene: Scene, count: int) -> Cameras:
    share = torch.linspace(0, 1, count)[:, None]
    poses = torch.eye(4).repeat(count, 1, 1)
    start, end = scene.cameras.centers[2], scene.cameras.centers[1]
    poses[:, :3, 3] = (1 - share) * start + share * end
    K = scene.cameras.K[:1].expand(count, -1, -1)
    return Cameras(camera_to_world=poses, K=K, width=96, height=72)


def test_plan_from_above(plane_scene):
    plan = draw_plan(plane_scene, make_path(plane_scene, 12), (400, 300))
    assert plan.shape == (300, 400, 3)
    photos, path = near(plan, PHOTO_COLOUR), near(plan, PATH_COLOUR)
    assert photos.sum() > 100
    assert path.sum() > 50
    points = (bytes_of(plan) - torch.tensor(PANEL)).abs().amax(dim=-1) > 12
    points &= ~photos & ~path
    assert points.float().mean() > 0.03
    # Photo 1 looks to the upper border: the points lie above the cameras.
    assert position_of(points)[1] < position_of(photos)[1] - 50
    # Camera 2 stands to the right of the others, camera 3 to the left.
    alone = [draw_plan(view_of(plane_scene, index), None, (400, 300)) for index in (1, 2)]
    x = [float(position_of(near(picture, PHOTO_COLOUR))[0]) for picture in alone]
    assert x[0] > x[1] + 20


def view_of(scene: Scene, index: int) -> Scene:
    """The scene whose other cameras stand where view 0's does, so that one camera is elsewhere."""
    poses = scene.cameras.camera_to_world[[0]].repeat(3, 1, 1)
    poses[index] = scene.cameras.camera_to_world[index]
    return replace(scene, cameras=replace(scene.cameras, camera_to_world=poses))


def test_plan_from_the_side_looks_to_the_right(plane_scene):
    plan = draw_plan(plane_scene, None, (400, 300), view="side")
    photos = near(plan, PHOTO_COLOUR)
    points = ((bytes_of(plan) - torch.tensor(PANEL)).abs().amax(dim=-1) > 12) & ~photos
    assert position_of(points)[0] > position_of(photos)[0] + 50


@pytest.mark.parametrize("view", ["above", "side"])
def test_plan_does_not_change_with_a_similarity(plane_scene, view):
    rotation = torch.linalg.matrix_exp(
        torch.tensor([[0.0, -0.7, 0.4], [0.7, 0.0, -0.2], [-0.4, 0.2, 0.0]])
    )
    move = Sim3(rotation=rotation, translation=torch.tensor([3.0, -1.0, 2.0]), scale=2.5)
    moved = replace(
        plane_scene,
        cameras=apply_sim3_to_cameras(move, plane_scene.cameras),
        points=apply_sim3_to_points(move, plane_scene.points),
        up=rotation @ plane_scene.up,
    )
    path = make_path(plane_scene, 5)
    before = draw_plan(plane_scene, path, (200, 150), view=view)
    after = draw_plan(moved, apply_sim3_to_cameras(move, path), (200, 150), view=view)
    # Rounding may move a point or a line to the next pixel, here and there.
    assert ((before - after).abs().amax(dim=-1) > 0.1).float().mean() < 0.05
    assert (before - after).abs().mean() < 0.01


def test_plan_draws_given_colours_of_guessed_points_too(plane_scene):
    green, red = (0, 255, 0), (255, 0, 0)
    colours = torch.tensor([0.0, 1, 0]).expand(plane_scene.points.shape).clone()
    confidence = plane_scene.confidence.clone()
    colours[:, :, 48:], confidence[:, :, 48:] = torch.tensor([1.0, 0, 0]), 1.5
    guessed = replace(plane_scene, confidence=confidence)
    plan = draw_plan(guessed, size=(400, 300), colours=colours)
    assert (plan[..., 1] > plan[..., 0] + 0.3).sum() > 1000
    assert (plan[..., 0] > plan[..., 1] + 0.3).sum() > 1000
    assert not near(draw_plan(guessed, size=(400, 300)), red).any()
    assert not near(draw_plan(guessed, size=(400, 300)), green).any()
    with pytest.raises(InputError, match="Colours of the plan has shape"):
        draw_plan(guessed, colours=colours[:, 1:])


def test_overview_names_who_trusts_the_frames(plane_scene):
    frames, confidence = torch.zeros(4, 8, 8, 3), torch.full((4, 8, 8), 3.0)
    path = PathPictures(
        cameras=make_path(plane_scene, 4), frames=frames, confidence=confidence, judge="agreement"
    )
    pages = [
        draw_overview(plane_scene, replace(path, judge=judge))
        for judge in (None, "agreement", "pairwise")
    ]
    anonymous, agreement, pairwise = pages
    # One line differs, behind what all have in common.
    for page, other in ((agreement, anonymous), (pairwise, agreement)):
        rows, columns = (page != other).any(-1).nonzero(as_tuple=True)
        assert int(rows.max() - rows.min()) < 30
        assert int(columns.min()) > 200


def test_plan_rings_a_place(plane_scene):
    place = plane_scene.cameras.centers[1]
    bare = draw_plan(plane_scene, size=(400, 300))
    ringed = draw_plan(plane_scene, size=(400, 300), places=place[None])
    ring = near(ringed, PLACE_COLOUR) & ~near(bare, PLACE_COLOUR)
    assert ring.sum() > 40
    # Around the camera that stands there, whose dot it leaves free.
    low, high = ring.nonzero().amin(0), ring.nonzero().amax(0)
    assert ((high - low) - 18).abs().max() <= 2
    row, column = ((low + high) // 2).tolist()
    assert near(ringed, PHOTO_COLOUR)[row - 2 : row + 3, column - 2 : column + 3].any()


def test_overview_tells_what_is_next(plane_scene):
    path = PathPictures(cameras=make_path(plane_scene, 3))
    views, height, width = plane_scene.valid.shape
    overlap = Overlap(
        share=torch.eye(views),
        angle_degrees=torch.zeros(views, views),
        middle=torch.zeros(views, views, 3),
        witnesses=torch.ones(views, height, width, dtype=torch.int64),
    )
    place = plane_scene.cameras.centers[1] + torch.tensor([0.3, 0.0, 0.0])
    one = NextPhoto(photos=("view1.png",), center=place, text="Beside view1.png")
    bare = draw_overview(plane_scene, path)
    told = draw_overview(plane_scene, path, overlap=overlap, next_photos=[one])
    more = draw_overview(plane_scene, path, overlap=overlap, next_photos=[one, one])
    assert torch.equal(told[: len(bare) - 32], bare[:-32])
    # Two plans and a line; a line more per photo.
    assert len(told) > len(bare) + 560
    assert 20 < len(more) - len(told) < 80
    below = told[len(bare) :]
    red = (below[..., 0] > below[..., 1] + 0.3) & (below[..., 1] < 0.4)
    assert red.sum() > 1000


def test_plan_without_measured_points_shows_the_filled_ones(plane_scene):
    filled = replace(plane_scene, confidence=torch.full_like(plane_scene.confidence, 1.5))
    torch.testing.assert_close(draw_plan(filled), draw_plan(plane_scene))
    empty = torch.zeros_like(plane_scene.valid)
    nothing = draw_plan(replace(plane_scene, valid=empty), size=(200, 150))
    assert near(nothing, PHOTO_COLOUR).any()
    with pytest.raises(InputError, match="Plan view 'below' is unknown"):
        draw_plan(plane_scene, view="below")


def test_overview_shows_what_it_is_given(plane_scene):
    path = make_path(plane_scene, 9)
    frames = plane_scene.photos.images[torch.arange(9) % 3]
    holes = torch.zeros(9, 72, 96, dtype=torch.bool)
    holes[:, :, 48:] = True
    bare = draw_overview(plane_scene, PathPictures(cameras=path))
    assert bare.shape[1] == SHEET_WIDTH
    full = draw_overview(
        plane_scene,
        PathPictures(cameras=path, frames=frames, holes=holes, renders=frames),
        photo_renders=plane_scene.photos.images,
        title="Test",
    )
    hatch = (255, 64, 160)
    assert near(full, hatch, 10).sum() > near(bare, hatch, 10).sum() + 3000


def test_overview_adds_a_row_for_the_confidence_of_frames(plane_scene):
    path = make_path(plane_scene, 3)
    frames = torch.rand(3, 12, 16, 3)
    bare = PathPictures(cameras=path, frames=frames)
    sure = torch.full((3, 12, 16), 10.0)
    judged = draw_overview(plane_scene, replace(bare, confidence=sure))
    doubted = draw_overview(plane_scene, replace(bare, confidence=torch.ones_like(sure)))
    assert judged.shape[0] > draw_overview(plane_scene, bare).shape[0]
    assert float(judged.mean()) > float(doubted.mean())


def test_overview_of_many_photos_shows_six(plane_scene):
    index = [0, 1, 2] * 4
    photos = replace(
        plane_scene.photos,
        images=plane_scene.photos.images[index],
        valid=plane_scene.photos.valid[index],
        names=tuple(f"{i}.png" for i in range(12)),
        original_sizes=((96, 72),) * 12,
        to_original=plane_scene.photos.to_original[index],
    )
    many = replace(
        plane_scene,
        photos=photos,
        photo_cameras=plane_scene.photo_cameras[index],
        cameras=plane_scene.cameras[index],
        points=plane_scene.points[index],
        confidence=plane_scene.confidence[index],
        valid=plane_scene.valid[index],
    )
    page = draw_overview(many, PathPictures(cameras=make_path(plane_scene, 3)))
    # Six rows of at most 220 pixels and the plans; twelve rows would be over 3000.
    assert 2000 < len(page) < 2500


def test_overview_refuses_pictures_of_other_paths(plane_scene):
    path = PathPictures(cameras=make_path(plane_scene, 4), frames=torch.zeros(3, 8, 8, 3))
    with pytest.raises(InputError, match="Frames of the path has shape"):
        draw_overview(plane_scene, path)
    path = PathPictures(cameras=make_path(plane_scene, 4))
    with pytest.raises(InputError, match="Renders of the photos has shape"):
        draw_overview(plane_scene, path, photo_renders=torch.zeros(3, 8, 8, 3))
