import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from reconx.errors import InputError
from reconx.export.ply import (
    read_gaussians_ply,
    read_points_ply,
    write_gaussians_ply,
    write_points_ply,
)
from reconx.types import Gaussians


def make_gaussians(coefficients: int, count: int = 7) -> Gaussians:
    generator = torch.Generator().manual_seed(coefficients)
    quats = torch.randn(count, 4, generator=generator)
    return Gaussians(
        means=torch.randn(count, 3, generator=generator),
        quats=torch.nn.functional.normalize(quats, dim=-1),
        scales=torch.rand(count, 3, generator=generator) + 0.01,
        opacities=torch.linspace(0, 1, count),
        sh=torch.randn(count, coefficients, 3, generator=generator),
    )


@pytest.mark.parametrize("coefficients", [1, 4, 9, 16])
def test_gaussians_round_trip(tmp_path, coefficients):
    gaussians = make_gaussians(coefficients)
    write_gaussians_ply(tmp_path / "new/scene.ply", gaussians)
    back = read_gaussians_ply(tmp_path / "new/scene.ply")
    for name in ("means", "quats", "scales", "opacities", "sh"):
        torch.testing.assert_close(getattr(back, name), getattr(gaussians, name), msg=name)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["scene.ply"]


def test_layout_is_that_of_gaussian_splatting(tmp_path):
    gaussians = make_gaussians(4)
    write_gaussians_ply(tmp_path / "scene.ply", gaussians)
    vertices = PlyData.read(str(tmp_path / "scene.ply"), mmap=False)["vertex"].data
    assert vertices.dtype.names == (
        *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"),
        *(f"f_rest_{index}" for index in range(9)),
        *("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
    )
    # All of red, then all of green, then all of blue.
    np.testing.assert_array_equal(vertices["f_rest_2"], gaussians.sh[:, 3, 0])
    np.testing.assert_array_equal(vertices["f_rest_3"], gaussians.sh[:, 1, 1])
    np.testing.assert_allclose(vertices["scale_1"], gaussians.scales[:, 1].log(), rtol=1e-6)
    np.testing.assert_allclose(vertices["opacity"][3], 0, atol=1e-6)
    np.testing.assert_allclose(vertices["rot_0"], gaussians.quats[:, 0], rtol=1e-6)
    # Opacities 0 and 1 have infinite logits, which viewers cannot show.
    assert np.isfinite(vertices["opacity"]).all()


def test_gaussians_of_other_writers(tmp_path):
    # No normals, text, another order of the properties, doubles, quaternions not normalised.
    names = ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    names += ["f_dc_0", "f_dc_1", "f_dc_2", "x", "y", "z"]
    row = np.array([(0, 0, 0, 0, 2, 0, 0, 0, 0.1, 0.2, 0.3, 1, 2, 3)], [(n, "f8") for n in names])
    PlyData([PlyElement.describe(row, "vertex")], text=True).write(str(tmp_path / "a.ply"))
    back = read_gaussians_ply(tmp_path / "a.ply")
    torch.testing.assert_close(back.means, torch.tensor([[1.0, 2, 3]]))
    torch.testing.assert_close(back.quats, torch.tensor([[1.0, 0, 0, 0]]))
    torch.testing.assert_close(back.scales, torch.ones(1, 3))
    torch.testing.assert_close(back.opacities, torch.tensor([0.5]))
    torch.testing.assert_close(back.sh, torch.tensor([[[0.1, 0.2, 0.3]]]))


def test_points_round_trip(tmp_path):
    points = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    colours = torch.arange(15).reshape(5, 3) / 255
    confidence = torch.linspace(1, 10, 5)
    write_points_ply(tmp_path / "points.ply", points, colours, confidence)
    back = read_points_ply(tmp_path / "points.ply")
    assert all(torch.equal(a, b) for a, b in zip(back, (points, colours, confidence), strict=True))
    write_points_ply(tmp_path / "points.ply", points, colours)
    assert read_points_ply(tmp_path / "points.ply")[2] is None


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists open maps")
def test_a_file_is_free_once_it_is_read(tmp_path):
    write_gaussians_ply(tmp_path / "scene.ply", make_gaussians(4))
    gc.disable()
    try:
        gaussians = read_gaussians_ply(tmp_path / "scene.ply")
        assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8")
    finally:
        gc.enable()
    assert len(gaussians) == 7


def test_failed_write_leaves_the_old_file(tmp_path):
    write_gaussians_ply(tmp_path / "scene.ply", make_gaussians(1))
    before = (tmp_path / "scene.ply").read_bytes()
    bad = make_gaussians(1)
    bad.means[2, 1] = torch.nan
    with pytest.raises(InputError, match="means holds 1 of 21 values that are not finite"):
        write_gaussians_ply(tmp_path / "scene.ply", bad)
    assert (tmp_path / "scene.ply").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["scene.ply"]


def check_error(path: Path, text: str) -> None:
    with pytest.raises(InputError, match=text):
        read_gaussians_ply(path)


def test_bad_files(tmp_path):
    check_error(tmp_path / "none.ply", "none.ply' does not exist")
    (tmp_path / "text.ply").write_text("hello", encoding="utf-8")
    check_error(tmp_path / "text.ply", "text.ply' cannot be read")
    write_points_ply(tmp_path / "points.ply", torch.zeros(2, 3), torch.zeros(2, 3))
    check_error(tmp_path / "points.ply", "lacks the properties f_dc_0, f_dc_1, f_dc_2; it has x, y")
    write_gaussians_ply(tmp_path / "whole.ply", make_gaussians(4))
    data = (tmp_path / "whole.ply").read_bytes()
    (tmp_path / "cut.ply").write_bytes(data[:-40])
    check_error(tmp_path / "cut.ply", "cut.ply' cannot be read")
    (tmp_path / "rest.ply").write_bytes(data.replace(b"float f_rest_8\n", b"float f_REST_8\n"))
    check_error(tmp_path / "rest.ply", "has 8 f_rest properties; expected 0, 9, 24 or 45")
