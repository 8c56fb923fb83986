import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from reid_dhm.service.api import uploads
from reid_dhm.service.api.uploads import MAX_PIXELS, decode_upload
from reid_dhm.service.errors import Problem


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A small PNG whose header claims a size, with pixels that unfold without end."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


def webp_claiming(width: int, height: int) -> bytes:
    bits = struct.pack("<I", (width - 1) | (height - 1) << 14)
    content = b"\x2f" + bits + bytes(20)
    body = b"WEBPVP8L" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(saved(Image.new("RGB", (16, 16)), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.fixture
def undecoded(monkeypatch):
    """Fails the test if any pixel is decoded."""

    def pixels(image):
        raise AssertionError("was decoded")

    monkeypatch.setattr(uploads, "_pixels", pixels)


BOMBS = {
    "png": png_claiming(20_000, 20_000),
    "png of nearly no height": png_claiming(2**31 - 1, 1),
    "webp": webp_claiming(16_383, 16_383),
    "jpeg": jpeg_claiming(65_500, 65_500),
    "just too large": png_claiming(8001, MAX_PIXELS // 8000),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_decompression_bombs_are_refused_by_their_header(undecoded, bomb):
    with pytest.raises(Problem, match="the limit is 64 million") as caught:
        decode_upload(bomb, "image 1")
    assert caught.value.status == 413


def test_the_largest_image_is_decoded():
    assert (
        decode_upload(saved(Image.new("L", (8000, MAX_PIXELS // 8000)), "PNG"), "it").shape[1]
        == 8000
    )


def test_too_many_bytes_are_refused_before_the_header(undecoded):
    with pytest.raises(Problem, match=r"image 1 has 16\.0 MiB: the limit is 16 MiB") as caught:
        decode_upload(bytes(16 * 2**20 + 1), "image 1")
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        saved(Image.new("RGB", (20, 40)), "GIF"),
        saved(Image.new("RGB", (20, 40)), "TIFF"),
        saved(Image.new("RGB", (20, 40)), "JPEG")[:-30],
        saved(Image.effect_noise((20, 40), 50), "PNG")[:-80],
        saved(Image.new("RGB", (20, 40)), "WEBP")[:-4],
        png_claiming(20, 40)[:40],
    ],
    ids=["empty", "text", "svg", "pdf", "gif", "tiff", "jpeg", "png", "webp", "png header"],
)
def test_other_types_and_damaged_images_are_refused(data):
    with pytest.raises(Problem, match="image 1 is damaged or not an image: send JPEG") as caught:
        decode_upload(data, "image 1")
    assert caught.value.status == 400


RED = Image.new("RGB", (20, 40), (250, 10, 10))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_images_become_rgb(kind):
    pixels = decode_upload(saved(RED, kind), "it")
    assert pixels.shape == (40, 20, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.reshape(-1, 3).mean(0) - (250, 10, 10)).max() < 6


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "1", "I;16", "CMYK"])
def test_every_kind_of_pixel_becomes_rgb(mode):
    grey = Image.fromarray(np.full((40, 20), 128 * 257, np.uint16))
    image = grey if mode == "I;16" else RED.convert(mode)
    pixels = decode_upload(saved(image, "JPEG" if mode == "CMYK" else "PNG"), "it")
    assert pixels.shape == (40, 20, 3)
    if mode == "I;16":
        assert (pixels == 128).all()


def test_images_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    assert decode_upload(saved(RED, "JPEG", exif=exif), "it").shape == (20, 40, 3)


def test_the_name_of_the_file_says_nothing(client):
    files = {"pictures": ("person.jpg", b"MZ\x90", "image/jpeg")}
    response = client.post("/api/search/pictures", files=files)
    assert response.status_code == 400
    assert response.json()["detail"].startswith("image 1 is damaged or not an image")


def test_bombs_are_refused_over_the_wire(client):
    files = {"pictures": ("person.png", BOMBS["png"], "image/png")}
    assert client.post("/api/search/pictures", files=files).status_code == 413
