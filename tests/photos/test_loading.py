import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from reconx.errors import InputError
from reconx.photos.loading import PhotoOptions, load_photos, photos_from_images

PHOTOS = Path(__file__).resolve().parents[3] / "shared/data/photos"


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, width: int = 32, height: int = 24, seed: int = 0, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(width, height, seed)).save(path, **options)
    return path


def exif_of(tags: dict[int, object], orientation: int | None = None) -> Image.Exif:
    exif = Image.Exif()
    if orientation is not None:
        exif[274] = orientation
    exif.get_ifd(0x8769).update(tags)
    return exif


def load_with(path: Path, tmp_path: Path, options: PhotoOptions | None = None):
    """Load one photo beside a second one, since a single photo is an error."""
    return load_photos([path, save(tmp_path / "second/other.png", 8, 8, seed=9)], options=options)


def test_values_names_and_order(tmp_path):
    first, second = save(tmp_path / "b.png", seed=1), save(tmp_path / "a.png", seed=2)
    photos = load_photos([first, str(second)])
    assert photos.names == ("b.png", "a.png")
    assert photos.images.shape == (2, 24, 32, 3)
    expected = torch.from_numpy(noise(32, 24, seed=1)).float() / 255
    torch.testing.assert_close(photos.images[0], expected)
    assert photos.valid.all()
    torch.testing.assert_close(photos.to_original, torch.eye(3).expand(2, 3, 3))


def test_folder_in_natural_order_without_other_files(tmp_path):
    for index in (10, 2, 1):
        save(tmp_path / f"IMG_{index}.PNG", seed=index)
    (tmp_path / "notes.txt").write_text("no photo", encoding="utf-8")
    (tmp_path / "._IMG_1.PNG").write_bytes(b"left by another system")
    save(tmp_path / "deeper/IMG_3.png")
    assert load_photos([tmp_path]).names == ("IMG_1.PNG", "IMG_2.PNG", "IMG_10.PNG")


def test_same_names_get_their_folders(tmp_path):
    places = ("left/1.png", "right/1.png", "right/2.png")
    paths = [save(tmp_path / place, seed=seed) for seed, place in enumerate(places)]
    assert load_photos(paths).names == ("left_1.png", "right_1.png", "2.png")


def test_same_names_in_same_named_folders(tmp_path):
    places = ("a/x/1.png", "b/x/1.png")
    paths = [save(tmp_path / place, seed=seed) for seed, place in enumerate(places)]
    assert load_photos(paths).names == ("a_x_1.png", "b_x_1.png")


def test_mixed_sizes_are_padded_and_map_back(tmp_path):
    wide = save(tmp_path / "wide.png", 101, 40, seed=1)
    tall = save(tmp_path / "tall.png", 30, 60, seed=2)
    photos = load_photos([wide, tall], options=PhotoOptions(max_size=50, focal_px=80.0))
    assert (photos.width, photos.height) == (50, 50)
    assert photos.original_sizes == ((101, 40), (30, 60))
    assert photos.valid[0, :20, :50].all()
    assert photos.valid[0].sum() == 20 * 50
    assert photos.valid[1].sum() == 25 * 50
    assert (photos.images[~photos.valid] == 0).all()
    # The corner of the loaded picture is the corner of the original.
    corners = photos.to_original @ torch.tensor([[50.0, 20, 1], [25, 50, 1]])[..., None]
    torch.testing.assert_close(corners[..., 0], torch.tensor([[101.0, 40, 1], [30, 60, 1]]))
    # K at the original's resolution is the user's focal length and the original's centre.
    K = photos.to_original @ photos.prior.K
    expected = [[[80.0, 0, w / 2], [0, 80, h / 2], [0, 0, 1]] for w, h in photos.original_sizes]
    torch.testing.assert_close(K, torch.tensor(expected))


def test_small_photos_are_not_enlarged_but_named(tmp_path, caplog):
    paths = [save(tmp_path / "big.png", 64, 48), save(tmp_path / "small.png", 16, 12)]
    with caplog.at_level(logging.WARNING, "reconx"):
        photos = load_photos(paths)
    assert photos.valid[1].sum() == 16 * 12
    assert "small.png is only 16 pixels long" in caplog.text


def test_shrinking_a_jpeg_keeps_edges_in_place(tmp_path):
    # A step at x = 400.0 of 1003 pixels, decoded at reduced size: the crossing must map back to it.
    pixels = np.zeros((37, 1003, 3), np.uint8)
    pixels[:, 400:] = 255
    Image.fromarray(pixels).save(tmp_path / "step.jpg", quality=95)
    photos = load_with(tmp_path / "step.jpg", tmp_path, PhotoOptions(max_size=100))
    row = photos.images[0, 1, :, 0]
    assert photos.original_sizes[0] == (1003, 37)
    dark_pixels = float((1 - row[:100]).sum())
    assert dark_pixels * float(photos.to_original[0, 0, 0]) == pytest.approx(400, abs=1.5)


def test_shrinking_keeps_the_mean_colour(tmp_path):
    checker = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(checker.astype(np.uint8)).save(tmp_path / "checker.png")
    photos = load_with(tmp_path / "checker.png", tmp_path, PhotoOptions(max_size=16))
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
    photos = load_with(tmp_path / "photo.png", tmp_path)
    assert photos.original_sizes[0] == (4, 3)
    torch.testing.assert_close(photos.images[0, 0, 0], torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(photos.images[0, 0, 3], torch.tensor([0.0, 1, 0]))


@pytest.mark.parametrize(
    ("name", "tags", "focal_px"),
    [
        ("equivalent", {41989: 28}, 28 / 36 * 400),
        ("sensor in inches", {37386: 50.0, 41486: 100.0, 41488: 2, 40962: 300, 40963: 200}, 0),
        ("sensor", {37386: 4.0, 41486: 1000.0, 41488: 3, 40962: 800, 40963: 600}, 4 / 8 * 400),
        ("zero", {41989: 0}, math.nan),
        ("absurd, sensor knows", {41989: 9999, 37386: 6.0, 41486: 100.0, 41488: 4,
                                  40962: 600, 40963: 450}, 400),
        ("no resolution", {37386: 6.0, 41486: 0.0, 40962: 600, 40963: 450}, math.nan),
        ("nothing", {}, math.nan),
    ],
)  # fmt: skip
def test_focal_length_from_exif(tmp_path, name, tags, focal_px):
    if name == "sensor in inches":  # 300 pixels at 100 per inch are 76.2 mm of sensor
        focal_px = 50 / 76.2 * 400
    path = save(tmp_path / "photo.jpg", 400, 300, exif=exif_of(tags))
    photos = load_with(path, tmp_path, PhotoOptions(max_size=200))
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
        load_with(path, tmp_path)
    assert "Photo photo.jpg: EXIF FocalLengthIn35mmFilm gives a focal length of 9999" in caplog.text


def test_field_of_view_wins_over_exif(tmp_path):
    path = save(tmp_path / "photo.jpg", 40, 30, exif=exif_of({41989: 28}))
    photos = load_with(path, tmp_path, PhotoOptions(fov_degrees=90.0))
    assert float(photos.prior.K[0, 0, 0]) == pytest.approx(20)
    assert float(photos.prior.K[1, 0, 0]) == pytest.approx(4)
    assert (photos.prior.focal_sigma == 0).all()


def test_16_bit_grey_keeps_its_range(tmp_path):
    values = np.linspace(0, 65535, 48).astype(np.uint16).reshape(6, 8)
    Image.fromarray(values).save(tmp_path / "deep.png")
    photos = load_with(tmp_path / "deep.png", tmp_path)
    expected = torch.from_numpy(values / 65535).float()[..., None].expand(6, 8, 3)
    torch.testing.assert_close(photos.images[0, :6], expected)


def test_float_picture_within_range_only(tmp_path):
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    Image.fromarray(values).save(tmp_path / "float.tif")
    photos = load_with(tmp_path / "float.tif", tmp_path)
    torch.testing.assert_close(photos.images[0, :6, :, 1], torch.from_numpy(values))
    Image.fromarray(values * 7).save(tmp_path / "radiance.tif")
    with pytest.raises(InputError, match="radiance.tif' holds values from 0 to 7 of full scale"):
        load_with(tmp_path / "radiance.tif", tmp_path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_shows_white(tmp_path, mode):
    suffix = {"CMYK": "jpg", "YCbCr": "jpg"}.get(mode, "png")
    Image.new("RGB", (8, 6), "white").convert(mode).save(tmp_path / f"photo.{suffix}")
    photos = load_with(tmp_path / f"photo.{suffix}", tmp_path)
    torch.testing.assert_close(photos.images[0, :6], torch.ones(6, 8, 3), atol=0.01, rtol=0)
    assert photos.valid[0, :6].all()


def test_transparent_pixels_are_not_valid_and_do_not_bleed(tmp_path):
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[..., 1] = 255  # transparent green
    pixels[:, :15] = (255, 0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    photos = load_with(tmp_path / "cut.png", tmp_path, PhotoOptions(max_size=16))
    assert photos.valid[0, :, :7].all()
    assert not photos.valid[0, :, 8:].any()
    seen = photos.images[0][photos.valid[0]]
    torch.testing.assert_close(seen, torch.tensor([1.0, 0, 0]).expand_as(seen))


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (8, 6), 1)
    image.putpalette([0, 0, 0, 0, 0, 255])
    image.putpixel((2, 3), 0)
    image.save(tmp_path / "icon.gif", transparency=0)
    photos = load_with(tmp_path / "icon.gif", tmp_path)
    assert not photos.valid[0, 3, 2]
    assert photos.valid[0].sum() == 47
    torch.testing.assert_close(photos.images[0, 0, 0], torch.tensor([0.0, 0, 1]))


def test_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:])
    photos = load_with(tmp_path / "clip.gif", tmp_path)
    torch.testing.assert_close(photos.images[0, 0, 0], torch.tensor([1.0, 0, 0]))


def test_colour_profile_is_converted(tmp_path):
    # Equal RGB in a linear-light space is brighter once encoded as sRGB: 0.5 becomes 0.735.
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    linear = linear_copy(linear)
    Image.new("RGB", (8, 6), (128, 128, 128)).save(tmp_path / "wide.png", icc_profile=linear)
    photos = load_with(tmp_path / "wide.png", tmp_path)
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
        photos = load_with(path, tmp_path)
    assert "photo.png: its colour profile is broken" in caplog.text
    torch.testing.assert_close(photos.images[0], torch.from_numpy(noise(32, 24)).float() / 255)


def test_broken_exif_is_logged(tmp_path, caplog):
    path = save(tmp_path / "photo.png", exif=b"Exif\0\0nonsense")
    with caplog.at_level(logging.WARNING, "reconx"):
        photos = load_with(path, tmp_path)
    assert photos.prior.K[0, 0, 0].isnan()
    assert "photo.png: its EXIF data is broken" in caplog.text


def test_masks_of_another_size(tmp_path):
    paths = [save(tmp_path / f"{name}.jpg", 40, 30, seed=ord(name)) for name in "ab"]
    mask = np.zeros((15, 20), np.uint8)
    mask[:, 10:] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks/b.png")
    photos = load_photos(paths, options=PhotoOptions(masks=tmp_path / "masks"))
    assert photos.valid[0].all()
    assert photos.valid[1, :, 20:].all()
    assert not photos.valid[1, :, :20].any()


def test_masks_as_files_with_full_names(tmp_path):
    paths = [save(tmp_path / f"{name}.jpg", seed=ord(name)) for name in "ab"]
    mask = tmp_path / "a.jpg.png"
    Image.fromarray(np.eye(24, 32, dtype=np.uint8) * 255).save(mask)
    photos = load_photos(paths, options=PhotoOptions(masks=[mask]))
    assert photos.valid.sum(dim=(1, 2)).tolist() == [24, 24 * 32]


def test_images_in_memory():
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(2, 20, 40, 3, generator=generator)
    masks = torch.ones(2, 20, 40, dtype=torch.bool)
    masks[1, :, :20] = False
    options = PhotoOptions(max_size=20, focal_px=50.0)
    photos = photos_from_images(batch, masks=masks, options=options)
    assert photos.names == ("photo-1", "photo-2")
    assert photos.images.shape == (2, 10, 20, 3)
    # A pixel stays valid only where all that it was resampled from is.
    assert photos.valid[1, :, 11:].all()
    assert not photos.valid[1, :, :10].any()
    torch.testing.assert_close(photos.prior.K[0, 0], torch.tensor([25.0, 0, 10]))
    mixed = photos_from_images([batch[0], batch[1, :, :30]])
    assert mixed.original_sizes == ((40, 20), (30, 20))


def check_error(text: str, sources, **options) -> None:
    with pytest.raises(InputError, match=text):
        load_photos(sources, options=PhotoOptions(**options))


def test_bad_files_are_named(tmp_path):
    good = save(tmp_path / "good.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("hello", encoding="utf-8")
    data = save(tmp_path / "whole.jpg", 64, 64, seed=3).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "bare").mkdir()
    check_error(r"nowhere.jpg' does not exist", [good, tmp_path / "nowhere.jpg"])
    check_error(r"empty.jpg' is empty \(0 bytes\)", [good, tmp_path / "empty.jpg"])
    check_error(r"text.jpg' is not a picture", [good, tmp_path / "text.jpg"])
    check_error(r"cut.jpg' is damaged or cut off", [good, tmp_path / "cut.jpg"])
    check_error(r"bare' holds no photos", [good, tmp_path / "bare"])


def test_too_few_photos(tmp_path):
    check_error("No photo was given", [])
    check_error("Only one photo was given; expected at least two", [save(tmp_path / "a.png")])


def test_repeated_photos(tmp_path):
    first, copy = save(tmp_path / "a.png", seed=1), save(tmp_path / "b.png", seed=1)
    check_error("a.png' is given twice", [first, tmp_path / "." / "a.png"])
    check_error("a.png' is given twice", [first, tmp_path])
    check_error("Photos a.png and b.png are the same picture", [first, copy])


def test_too_many_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr("reconx.photos.decoding.MAX_PIXELS", 2_000_000)
    Image.new("1", (2000, 2000)).save(tmp_path / "huge.png")
    check_error("huge.png' is 2000 x 2000 pixels; expected at most 2 mega", [tmp_path, save(
        tmp_path / "small/b.png")])  # fmt: skip


def test_large_pictures_pass_and_leave_pillows_limit_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    photos = load_with(save(tmp_path / "large.png", 100, 80), tmp_path)
    assert photos.original_sizes[0] == (100, 80)
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_bad_options(tmp_path):
    paths = [save(tmp_path / f"{name}.png", seed=ord(name)) for name in "ab"]
    check_error("fov_degrees is 400; expected between 1 and 179", paths, fov_degrees=400.0)
    check_error("fov_degrees is 0", paths, fov_degrees=0.0)
    check_error("expected one of them", paths, fov_degrees=60.0, focal_px=500.0)
    check_error(
        r"focal_px \(photo a.png is 32 x 24\) is -3; expected between", paths, focal_px=-3.0
    )
    check_error("max_size is 0", paths, max_size=0)


def test_bad_masks(tmp_path):
    paths = [save(tmp_path / f"{name}.png", 32, 24, seed=ord(name)) for name in "ab"]
    check_error("nowhere' does not exist", paths, masks=tmp_path / "nowhere")
    check_error(
        "None of 1 masks belongs to a photo. .* like a.png",
        paths,
        masks=save(tmp_path / "masks/c.png"),
    )
    wrong = save(tmp_path / "turned/a.png", 24, 32)
    check_error("is 24 x 32 pixels and its photo a.png 32 x 24", paths, masks=[wrong])
    black = tmp_path / "black/b.png"
    black.parent.mkdir()
    Image.new("L", (32, 24)).save(black)
    check_error("Photo b.png has no usable pixel", paths, masks=black)


def test_bad_images_in_memory():
    image = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="same picture"):
        photos_from_images([image, image.clone()])
    with pytest.raises(InputError, match="holds values from .* expected all within 0 to 1"):
        photos_from_images([image, image * 255])
    with pytest.raises(InputError, match="expected all within 0 to 1"):
        photos_from_images([image, image * math.nan])
    with pytest.raises(InputError, match="2 pictures came with 1 names"):
        photos_from_images([image, image * 0.5], names=["a"])


def test_real_photos():
    if not PHOTOS.is_dir():
        pytest.skip(f"no development photos in {PHOTOS}")
    photos = load_photos([PHOTOS / "herz-jesus-p8/images"], options=PhotoOptions(max_size=512))
    assert len(photos) == 8
    assert (photos.width, photos.height) == (512, 342)
    assert photos.prior.K[:, 0, 0].isnan().all()
