import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from reid_dhm.data.images import (
    MAX_PIXELS,
    check_images,
    read_image,
    resize_image,
    upright_size,
)
from reid_dhm.data.listing import list_images
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError, NotFoundError

RED_LEFT_BLUE_RIGHT = np.zeros((16, 8, 3), np.uint8)
RED_LEFT_BLUE_RIGHT[:, :4] = (255, 0, 0)
RED_LEFT_BLUE_RIGHT[:, 4:] = (0, 0, 255)


def encode(pixels: np.ndarray, suffix: str, *params: int) -> bytes:
    """Encode RGB(A) or grey pixels as OpenCV writes them."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    stored = pixels[..., order[pixels.shape[2]]] if pixels.ndim == 3 else pixels
    return cv2.imencode(suffix, np.ascontiguousarray(stored), list(params))[1].tobytes()


def noise(height: int = 64, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def with_exif(jpeg: bytes, payload: bytes) -> bytes:
    """Put an APP1 segment right after the start-of-image marker."""
    return jpeg[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + jpeg[2:]


def decode(data: bytes) -> np.ndarray:
    """What a file of these bytes is read as."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        path.write_bytes(data)
        return read_image(path)


def samples_at(*paths: Path) -> list[Sample]:
    return [Sample(path, pid=1, camid=1) for path in paths]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_lossless_images_are_read_exactly_as_rgb(tmp_path, suffix):
    path = tmp_path / f"Füße 人{suffix}"
    path.write_bytes(encode(noise(), suffix))
    np.testing.assert_array_equal(read_image(path), noise())


def test_jpeg_is_read_as_contiguous_rgb_uint8(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(RED_LEFT_BLUE_RIGHT, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 100))
    image = read_image(str(path))
    assert image.shape == (16, 8, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image[8, 0, 0] > 200 > 60 > image[8, 0, 2]
    assert image[8, -1, 2] > 200 > 60 > image[8, -1, 0]


def test_grey_alpha_and_sixteen_bits_become_rgb_uint8():
    grey = np.arange(48, dtype=np.uint8).reshape(8, 6)
    decoded = decode(encode(grey, ".png"))
    np.testing.assert_array_equal(decoded, np.stack([grey] * 3, axis=-1))

    alpha = np.concatenate([noise(8, 6), np.full((8, 6, 1), 7, np.uint8)], axis=2)
    np.testing.assert_array_equal(decode(encode(alpha, ".png")), noise(8, 6))

    deep = noise(8, 6).astype(np.uint16) * 257  # 8 bits repeated: the high byte is the value
    np.testing.assert_array_equal(decode(encode(deep, ".png")), noise(8, 6))


def test_exif_orientation_turns_the_image_upright():
    orientation = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"  # tag 0x0112 = 6: turn right
    exif = b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01" + orientation + bytes(4)
    stored = encode(RED_LEFT_BLUE_RIGHT, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 100)
    upright = decode(with_exif(stored, exif))
    np.testing.assert_array_equal(upright, np.rot90(decode(stored), k=-1))


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("suffix", "params"),
    [
        (".jpg", ()),
        (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        (".png", ()),
        (".bmp", ()),
        (".webp", ()),
    ],
)
def test_truncated_image_is_refused(tmp_path, suffix, params, keep):
    whole = encode(noise(), suffix, *params)
    assert decode(whole).shape == (64, 32, 3)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(InputError, match=r"cut\.\w+ is .*truncated.*: copy what is damaged again"):
        read_image(path)


def test_jpeg_whose_tail_was_lost_to_zeros_is_refused():
    whole = encode(noise(), ".jpg")
    half = len(whole) // 2
    with pytest.raises(InputError, match="truncated"):
        decode(whole[:half] + bytes(len(whole) - half))


def test_thumbnail_in_the_header_does_not_hide_truncation():
    thumbnail = b"Exif\x00\x00" + encode(noise(8, 8), ".jpg")
    whole = with_exif(encode(noise(), ".jpg"), thumbnail)
    np.testing.assert_array_equal(decode(whole), decode(encode(noise(), ".jpg")))
    with pytest.raises(InputError, match="truncated JPEG"):
        decode(whole[:-100] + bytes(100))


def test_bytes_after_a_jpeg_do_no_harm():
    whole = encode(noise(), ".jpg")
    assert decode(whole + b"appended video \xff\xda \x00").shape == (64, 32, 3)


def test_fill_bytes_between_jpeg_segments_do_no_harm():
    whole = encode(noise(), ".jpg")
    assert decode(whole[:2] + b"\xff\xff" + whole[2:]).shape == (64, 32, 3)


def test_corrupt_png_is_refused():
    whole = bytearray(encode(noise(), ".png"))
    whole[len(whole) // 2] ^= 0xFF
    with pytest.raises(InputError, match="corrupt"):
        decode(bytes(whole))


def test_missing_empty_and_foreign_files_are_refused_by_name(tmp_path):
    with pytest.raises(NotFoundError, match=r"gone\.jpg does not exist: check the path$"):
        read_image(tmp_path / "gone.jpg")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(InputError, match=r"empty\.jpg is empty"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("not an image")
    with pytest.raises(InputError, match=r"text\.jpg is .*not an image"):
        read_image(tmp_path / "text.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(InputError, match=r"folder\.jpg cannot be opened"):
        read_image(tmp_path / "folder.jpg")


def smooth() -> Image.Image:
    """A colourful image without sharp edges, which JPEG keeps."""
    rows, columns = np.mgrid[0:40, 0:24]
    channels = [6 * rows, 10 * columns, 3 * (rows + columns)]
    return Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))


def turned_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    return exif


@pytest.mark.parametrize(
    ("name", "change", "options"),
    [
        ("exif.jpg", None, {"exif": turned_exif(), "quality": 95}),
        ("exif.png", None, {"exif": turned_exif()}),
        ("exif.webp", None, {"exif": turned_exif().tobytes(), "lossless": True}),
        ("exif.tif", None, {"tiffinfo": {274: 6}}),
        ("cmyk.jpg", lambda image: image.convert("CMYK"), {"quality": 95}),
        ("progressive.JPG", None, {"progressive": True, "quality": 95}),
        ("grey.jpg", lambda image: image.convert("L"), {"quality": 95}),
        ("palette.png", lambda image: image.quantize(64), {"transparency": 0}),
        ("bits.png", lambda image: image.convert("1"), {}),
        ("jpeg_in.tif", None, {"compression": "jpeg", "quality": 95}),
        ("animated.webp", None, {"save_all": True, "append_images": [smooth()], "lossless": True}),
        ("png_called.jpg", None, {"format": "PNG"}),
    ],
)
def test_images_are_read_upright_as_pillow_reads_them(tmp_path, name, change, options):
    image = smooth()
    (change(image) if change else image).save(tmp_path / name, **options)
    with Image.open(tmp_path / name) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB")).astype(int)
    found = read_image(tmp_path / name)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 2  # colours of CMYK are converted differently
    assert upright_size(tmp_path / name) == expected.shape[:2]


def png_of(width: int, height: int) -> bytes:
    """A black PNG of one bit a pixel, which takes a few kilobytes however large it is."""
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * height, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize(
    ("width", "height", "claim"),
    [(30_000, 30_000, "far more"), (8001, 8000, "8001×8000"), (9500, 9500, "9500×9500")],
)
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path, monkeypatch, width, height, claim
):
    path = tmp_path / "huge.png"
    path.write_bytes(png_of(width, height))
    monkeypatch.setattr(cv2, "imdecode", None)  # must not be reached
    message = f"huge.png has {claim} pixels, and 64 million are the most"
    for refuse in (read_image, lambda path: check_images(samples_at(path))):
        with pytest.raises(InputError, match=message):
            refuse(path)


def test_the_largest_image_is_read(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png_of(8000, MAX_PIXELS // 8000))
    assert upright_size(path) == read_image(path).shape[:2] == (8000, 8000)


@pytest.mark.parametrize("suffix", [".gif", ".avif", ".jp2", ".jfif", ".jpe", ".ppm", ".pgm"])
def test_less_common_formats_are_read(tmp_path, suffix):
    encoder = ".jpg" if suffix == ".jfif" else suffix
    pixels = RED_LEFT_BLUE_RIGHT if suffix != ".pgm" else RED_LEFT_BLUE_RIGHT[..., 0]
    try:
        data = encode(np.kron(pixels, np.ones((4, 4, 1)[: pixels.ndim], np.uint8)), encoder)
    except cv2.error:
        pytest.skip(f"this OpenCV cannot write {encoder}")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    assert list_images(tmp_path) == [path]
    image = read_image(path)
    assert image.shape == (64, 32, 3)
    assert image[32, 4, 0] > 180 > 100 > image[32, 28, 0]


def test_resizing_averages_areas_and_interpolates_when_a_side_grows():
    blocks = np.kron(noise(4, 3), np.ones((2, 2, 1), np.uint8))
    np.testing.assert_array_equal(resize_image(blocks, (4, 3)), noise(4, 3))
    ramp = np.broadcast_to(np.uint8([[[0], [100]]]), (4, 2, 3)).copy()
    # Four pixel centres lie at -0.25, 0.25, 0.75 and 1.25 of two; beyond the ends these repeat.
    grown = resize_image(ramp, (2, 4))
    np.testing.assert_array_equal(grown, np.broadcast_to(np.c_[0, 25, 75, 100].T, (2, 4, 3)))
    assert resize_image(ramp, (4, 2)) is ramp


def test_check_images_accepts_good_ones(tmp_path):
    path = tmp_path / "good.jpg"
    path.write_bytes(encode(noise(), ".jpg"))
    check_images(samples_at(path, path))
    check_images([])


def test_check_images_tells_how_far_it_is(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(150)]
    for path in paths:
        path.write_bytes(encode(noise(2, 2), ".png"))
    calls: list[tuple[int, int]] = []
    check_images(samples_at(*paths, *paths), progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert len(calls) > 1
    assert calls[-1] == (150, 150)


def test_check_images_names_the_one_bad_file(tmp_path):
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(encode(noise(), ".jpg"))
    bad.write_bytes(good.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"^1 of 2 images .*bad\.jpg is a truncated JPEG; copy"):
        check_images(samples_at(good, bad, bad), workers=1)


@pytest.mark.parametrize("workers", [1, 3])
def test_check_images_names_the_first_bad_files_in_order_and_their_number(tmp_path, workers):
    good = encode(noise(), ".jpg")
    paths = [tmp_path / f"{number:03}.jpg" for number in range(150)]
    for number, path in enumerate(paths):
        path.write_bytes(good if number % 20 else b"")  # 000, 020 … 140: eight empty files
    with pytest.raises(InputError) as caught:
        check_images(samples_at(*paths), workers=workers)
    message = str(caught.value)
    assert message.startswith("8 of 150 images cannot be read: ")
    positions = [message.index(f"{number:03}.jpg") for number in (0, 20, 40, 60, 80)]
    assert positions == sorted(positions)
    assert "100.jpg" not in message
    assert "and 3 more" in message
