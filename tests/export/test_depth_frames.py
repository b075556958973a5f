import torch

from reconx.export.depth_frames import draw_depth_frames


def test_near_is_bright_and_linear_in_closeness() -> None:
    depth = torch.tensor([1.0, 2.0, 4.0]).repeat(2, 100, 1)
    depth[1] = 1.0
    grey = draw_depth_frames(depth, torch.zeros(depth.shape, dtype=torch.bool))
    # Closeness 1, 1/2, 1/4 over the span from 1/4 to 1; the second frame shares the first's scale.
    assert torch.allclose(grey[0, 0, :, 0], torch.tensor([1.0, 1 / 3, 0.0]), atol=1e-6)
    assert torch.equal(grey[1], torch.ones(100, 3, 3))


def test_what_is_empty_is_black_and_does_not_count() -> None:
    depth = torch.tensor([[[0.0, 3.0], [3.0, 0.0]]])
    grey = draw_depth_frames(depth, depth == 0)
    assert grey[0, :, :, 0].tolist() == [[0, 1], [1, 0]]
    assert not draw_depth_frames(torch.zeros(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool)).any()


def test_a_stray_point_does_not_darken_the_rest() -> None:
    depth = torch.linspace(1, 2, 1000).reshape(1, 10, 100)
    strayed = depth.clone()
    strayed[0, 0, 0] = 0.001
    whole, plain = (draw_depth_frames(d, torch.zeros_like(d) > 0) for d in (strayed, depth))
    assert torch.allclose(whole, plain, atol=0.01)
