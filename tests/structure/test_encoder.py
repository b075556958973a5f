from dataclasses import replace

import pytest
import torch
from same_scenes import moved, shuffled

from reconx.errors import InputError
from reconx.structure.encoder import PLAIN, EncoderSizes, StructureEncoder, encode_structure
from reconx.structure.points import choose_points
from reconx.types import Scene

SIZES = EncoderSizes(width=24, heads=3, points=300, queries=40, point_width=16)


@pytest.fixture(scope="module")
def encoder() -> StructureEncoder:
    torch.manual_seed(0)
    return StructureEncoder(SIZES).eval()


def test_one_group_of_tokens(plane_scene: Scene, encoder: StructureEncoder) -> None:
    tokens = encode_structure(plane_scene, plane_scene.cameras[2], encoder)
    assert tokens.tokens.shape == (1, 40, 24)
    assert tokens.tokens.isfinite().all()
    assert not tokens.tokens.requires_grad
    assert torch.equal(tokens.reference.camera_to_world, plane_scene.cameras[2].camera_to_world)


def test_tokens_end_with_where_their_points_lie_and_their_colours(
    plane_scene: Scene, encoder: StructureEncoder
) -> None:
    camera = plane_scene.cameras[1]
    points = choose_points(plane_scene, camera, points=300, queries=40)
    tokens = encode_structure(plane_scene, camera, encoder).tokens[0]
    seen, colours = points.seen[points.queries], points.colours[points.queries]
    assert torch.equal(tokens[:, -PLAIN : 3 - PLAIN], seen)
    assert torch.allclose(tokens[:, 3 - PLAIN : 6 - PLAIN], seen.square())
    assert torch.equal(tokens[:, -3:], colours * 2 - 1)
    with pytest.raises(InputError, match="'width' is 12"):
        EncoderSizes(width=12, heads=3)


def test_deterministic(plane_scene: Scene, encoder: StructureEncoder) -> None:
    first, again = (
        encode_structure(plane_scene, plane_scene.cameras[0], encoder).tokens for _ in range(2)
    )
    assert torch.equal(first, again)


@pytest.mark.parametrize("scale", [0.05, 40.0])
def test_a_similarity_of_scene_and_cameras_changes_nothing(
    plane_scene: Scene, encoder: StructureEncoder, scale: float
) -> None:
    other, cameras = moved(plane_scene, scale)
    plain = encode_structure(plane_scene, plane_scene.cameras[0], encoder).tokens
    # The highest octave, 512 pi, turns a rounding of 1e-6 into 1e-3.
    assert torch.allclose(encode_structure(other, cameras[0], encoder).tokens, plain, atol=5e-3)


def test_the_order_of_points_changes_nothing(plane_scene: Scene, encoder: StructureEncoder) -> None:
    plain, other = (
        encode_structure(scene, scene.cameras[0], encoder).tokens
        for scene in (plane_scene, shuffled(plane_scene))
    )
    assert torch.allclose(plain, other, atol=1e-4)


def test_tokens_tell_scenes_colours_and_cameras_apart(
    plane_scene: Scene, encoder: StructureEncoder
) -> None:
    dark = replace(
        plane_scene, photos=replace(plane_scene.photos, images=plane_scene.photos.images * 0.2)
    )
    bent = plane_scene.points.clone()
    bent[..., 2] += 0.3 * bent[..., 0].square()
    plain = encode_structure(plane_scene, plane_scene.cameras[0], encoder).tokens
    for scene, camera in (
        (dark, plane_scene.cameras[0]),
        (replace(plane_scene, points=bent), plane_scene.cameras[0]),
        (plane_scene, plane_scene.cameras[1]),
    ):
        assert not torch.allclose(encode_structure(scene, camera, encoder).tokens, plain, atol=0.02)


def test_where_the_camera_stands_is_not_lost(plane_scene: Scene, encoder: StructureEncoder) -> None:
    """A camera that steps back sees the same shape, farther away: other tokens."""
    camera = plane_scene.cameras[0]
    back = camera.camera_to_world.clone()
    back[0, 2, 3] -= 2.0
    near, far = (
        encode_structure(plane_scene, reference, encoder).tokens
        for reference in (camera, replace(camera, camera_to_world=back))
    )
    assert not torch.allclose(near, far, atol=0.02)


def test_every_weight_gets_a_gradient(plane_scene: Scene) -> None:
    encoder = StructureEncoder(SIZES)
    points = choose_points(plane_scene, plane_scene.cameras[0], points=300, queries=40)
    torch.manual_seed(1)
    tokens = encoder(points)
    (tokens * torch.randn_like(tokens)).sum().backward()
    idle = [
        name
        for name, weight in encoder.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    assert not idle


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(InputError, match="width 24 cannot have 5 heads"):
        EncoderSizes(width=24, heads=5)
