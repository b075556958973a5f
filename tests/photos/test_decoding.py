"""What becomes of one picture: size, orientation, lens, bits, colours and transparency."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from reconx.errors import InputError
from reconx.photos.loading import PhotoOptions, load_photos
from reconx.types import Photos


def exif_of(tags: dict[int, object], orientation: int | None = None) -> Image.Exif:
    exif = Image.Exif()
    if orientation is not None:
        exif[274] = orientation
    exif.get_ifd(0x8769).update(tags)
    return exif


def save(path: Path, width: int = 32, height: int = 24, **options) -> Path:
    Image.new("RGB", (width, height), (51, 102, 204)).save(path, **options)
    return path


def load(path: Path, options: PhotoOptions | None = None) -> Photos:
    """Load one photo beside a second one, since a single photo is an error."""
    other = path.parent / "second/other.png"
    other.parent.mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), "teal").save(other)
    return load_photos([path, other], options=options)


def test_shrinking_a_jpeg_keeps_edges_in_place(tmp_path):
    # A step at x = 400.0 of 1003 pixels, decoded at reduced size: the crossing must map back to it.
    pixels = np.zeros((37, 1003, 3), np.uint8)
    pixels[:, 400:] = 255
    Image.fromarray(pixels).save(tmp_path / "step.jpg", quality=95)
    photos = load(tmp_path / "step.jpg", PhotoOptions(max_size=100))
    row = photos.images[0, 1, :, 0]
    assert photos.original_sizes[0] == (1003, 37)
    dark_pixels = float((1 - row[:100]).sum())
    assert dark_pixels * float(photos.to_original[0, 0, 0]) == pytest.approx(400, abs=1.5)


def test_shrinking_keeps_the_mean_colour(tmp_path):
    checker = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(checker.astype(np.uint8)).save(tmp_path / "checker.png")
    photos = load(tmp_path / "checker.png", PhotoOptions(max_size=16))
    torch.testing.assert_close(photos.images[0], torch.full((16, 16, 3), 0.5), atol=0.03, rtol=0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation):
    # A red pixel in the upright picture's top left and a green one in its top right corner.
    upright = Image.new("RGB", (4, 3))
    upright.putpixel((0, 0), (255, 0, 0))
    upright.putpixel((3, 0), (0, 255, 0))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    stored.save(tmp_path / "photo.png", exif=exif_of({}, orientation))
    photos = load(tmp_path / "photo.png")
    assert photos.original_sizes[0] == (4, 3)
    torch.testing.assert_close(photos.images[0, 0, 0], torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(photos.images[0, 0, 3], torch.tensor([0.0, 1, 0]))


@pytest.mark.parametrize(
    ("name", "tags", "focal_px"),
    [
        ("equivalent", {41989: 28}, 28 / 36 * 400),
        # 300 pixels at 100 per inch are 76.2 mm of sensor.
        ("inches", {37386: 50.0, 41486: 100.0, 41488: 2, 40962: 300, 40963: 200}, 50 / 76.2 * 400),
        ("sensor", {37386: 4.0, 41486: 1000.0, 41488: 3, 40962: 800, 40963: 600}, 4 / 8 * 400),
        ("zero", {41989: 0}, math.nan),
        ("absurd, sensor knows", {41989: 9999, 37386: 6.0, 41486: 100.0, 41488: 4,
                                  40962: 600, 40963: 450}, 400),
        ("no resolution", {37386: 6.0, 41486: 0.0, 40962: 600, 40963: 450}, math.nan),
        ("nothing", {}, math.nan),
    ],
)  # fmt: skip
def test_focal_length_from_exif(tmp_path, name, tags, focal_px):
    path = save(tmp_path / "photo.jpg", 400, 300, exif=exif_of(tags))
    photos = load(path, PhotoOptions(max_size=200))
    focal, sigma = photos.prior.K[0, 0, 0], photos.prior.focal_sigma[0]
    if math.isnan(focal_px):
        assert focal.isnan()
        assert sigma.isnan()
    else:
        assert float(focal) == pytest.approx(focal_px / 2, rel=1e-4)
        assert float(sigma) == pytest.approx(0.05)
    # The principal point is known either way.
    torch.testing.assert_close(photos.prior.K[0, :2, 2], torch.tensor([100.0, 75.0]))


def test_absurd_focal_length_is_logged(tmp_path, caplog):
    path = save(tmp_path / "photo.jpg", exif=exif_of({41989: 9999}))
    with caplog.at_level(logging.WARNING, "reconx"):
        load(path)
    assert "Photo photo.jpg: EXIF FocalLengthIn35mmFilm gives a focal length of 9999" in caplog.text


def test_field_of_view_wins_over_exif(tmp_path):
    path = save(tmp_path / "photo.jpg", 40, 30, exif=exif_of({41989: 28}))
    photos = load(path, PhotoOptions(fov_degrees=90.0))
    assert float(photos.prior.K[0, 0, 0]) == pytest.approx(20)
    assert float(photos.prior.K[1, 0, 0]) == pytest.approx(4)
    assert (photos.prior.focal_sigma == 0).all()


def test_broken_exif_is_logged(tmp_path, caplog):
    path = save(tmp_path / "photo.png", exif=b"Exif\0\0nonsense")
    with caplog.at_level(logging.WARNING, "reconx"):
        photos = load(path)
    assert photos.prior.K[0, 0, 0].isnan()
    assert "photo.png: its EXIF data is broken" in caplog.text


def test_16_bit_grey_keeps_its_range(tmp_path):
    values = np.linspace(0, 65535, 48).astype(np.uint16).reshape(6, 8)
    Image.fromarray(values).save(tmp_path / "deep.png")
    photos = load(tmp_path / "deep.png")
    expected = torch.from_numpy(values / 65535).float()[..., None].expand(6, 8, 3)
    torch.testing.assert_close(photos.images[0, :6], expected)


def test_float_picture_within_range_only(tmp_path):
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    Image.fromarray(values).save(tmp_path / "float.tif")
    photos = load(tmp_path / "float.tif")
    torch.testing.assert_close(photos.images[0, :6, :, 1], torch.from_numpy(values))
    Image.fromarray(values * 7).save(tmp_path / "radiance.tif")
    with pytest.raises(InputError, match="radiance.tif' holds values from 0 to 7 of full scale"):
        load(tmp_path / "radiance.tif")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_shows_white(tmp_path, mode):
    suffix = {"CMYK": "jpg", "YCbCr": "jpg"}.get(mode, "png")
    Image.new("RGB", (8, 6), "white").convert(mode).save(tmp_path / f"photo.{suffix}")
    photos = load(tmp_path / f"photo.{suffix}")
    torch.testing.assert_close(photos.images[0, :6], torch.ones(6, 8, 3), atol=0.01, rtol=0)
    assert photos.valid[0, :6].all()


def test_transparent_pixels_are_not_valid_and_do_not_bleed(tmp_path):
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[..., 1] = 255  # transparent green
    pixels[:, :15] = (255, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    photos = load(tmp_path / "cut.png", PhotoOptions(max_size=16))
    assert photos.valid[0, :, :7].all()
    assert not photos.valid[0, :, 8:].any()
    seen = photos.images[0][photos.valid[0]]
    torch.testing.assert_close(seen, torch.tensor([1.0, 0, 0]).expand_as(seen))


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (8, 6), 1)
    image.putpalette([0, 0, 0, 0, 0, 255])
    image.putpixel((2, 3), 0)
    image.save(tmp_path / "icon.gif", transparency=0)
    photos = load(tmp_path / "icon.gif")
    assert not photos.valid[0, 3, 2]
    assert photos.valid[0].sum() == 47
    torch.testing.assert_close(photos.images[0, 0, 0], torch.tensor([0.0, 0, 1]))


def test_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:])
    photos = load(tmp_path / "clip.gif")
    torch.testing.assert_close(photos.images[0, 0, 0], torch.tensor([1.0, 0, 0]))


def test_colour_profile_is_converted(tmp_path):
    # Equal RGB in a linear-light space is brighter once encoded as sRGB: 0.5 becomes 0.735.
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    linear = linear_copy(linear)
    Image.new("RGB", (8, 6), (128, 128, 128)).save(tmp_path / "wide.png", icc_profile=linear)
    photos = load(tmp_path / "wide.png")
    assert float(photos.images[0, 0, 0, 1]) == pytest.approx(0.737, abs=0.01)


def linear_copy(profile: bytes) -> bytes:
    """The sRGB profile with its tone curve made linear and its name taken out."""
    count = int.from_bytes(profile[128:132], "big")
    changed = bytearray(profile)
    for index in range(count):
        entry = 132 + 12 * index
        start = int.from_bytes(profile[entry + 4 : entry + 8], "big")
        size = int.from_bytes(profile[entry + 8 : entry + 12], "big")
        if profile[entry : entry + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            curve = b"para" + bytes(4) + bytes(4) + (65536).to_bytes(4, "big")  # x ** 1.0
            changed[start : start + len(curve)] = curve
        if profile[entry : entry + 4] == b"desc":
            text = bytes(changed[start : start + size])
            changed[start : start + size] = text.replace(
                "sRGB".encode("utf-16-be"), b"\0L\0I\0N\0E"
            )
    return bytes(changed)


def test_broken_colour_profile_is_logged(tmp_path, caplog):
    path = save(tmp_path / "photo.png", icc_profile=b"nonsense")
    with caplog.at_level(logging.WARNING, "reconx"):
        photos = load(path)
    assert "photo.png: its colour profile is broken" in caplog.text
    torch.testing.assert_close(photos.images[0], torch.tensor([0.2, 0.4, 0.8]).expand(24, 32, 3))


def test_too_many_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr("reconx.photos.decoding.MAX_PIXELS", 2_000_000)
    Image.new("1", (2000, 2000)).save(tmp_path / "huge.png")
    with pytest.raises(
        InputError, match="huge.png' is 2000 x 2000 pixels; expected at most 2 mega"
    ):
        load(tmp_path / "huge.png")


def test_large_pictures_pass_and_leave_pillows_limit_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    photos = load(save(tmp_path / "large.png", 100, 80))
    assert photos.original_sizes[0] == (100, 80)
    assert Image.MAX_IMAGE_PIXELS == 1000
