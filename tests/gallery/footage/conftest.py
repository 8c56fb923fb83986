"""Videos that PyAV writes: any codec, container and timestamps."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

SIZE = (160, 120)
TICKS = 1000  # a second


def textured(number: int) -> np.ndarray:
    """A moving texture, so that every packet has content."""
    ground = np.random.default_rng(0).integers(60, 200, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    return np.roll(cv2.GaussianBlur(ground, (0, 0), 3), 2 * number, axis=1)


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """Writes numbered frames of a moving texture."""

    def write_video(
        path: Path,
        count: int = 100,
        codec: str = "libx264",
        times: Callable[[int], float] = lambda n: n / 25,
        options: dict[str, str] | None = None,
        format: str | None = None,
        container_options: dict[str, str] | None = None,
        turned: int = 0,
        ticks: int = TICKS,
    ) -> Path:
        if codec not in av.codecs_available:
            pytest.skip(f"this PyAV has no {codec}")
        with av.open(str(path), "w", format=format, options=container_options or {}) as container:
            stream = container.add_stream(codec, rate=25, options={"g": "10", **(options or {})})
            stream.width, stream.height = SIZE
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.codec_context.time_base = Fraction(1, ticks)
            if turned:
                if not hasattr(stream, "set_display_rotation"):
                    pytest.skip("this PyAV writes no rotation")
                stream.set_display_rotation(turned)
            for number in range(count):
                frame = av.VideoFrame.from_ndarray(textured(number), format="bgr24")
                frame.pts, frame.time_base = round(times(number) * ticks), Fraction(1, ticks)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write_video


@pytest.fixture(scope="session")
def damage() -> Callable[..., Path]:
    """Copies a video with the content of one packet set to zero."""

    def damage(source: Path, packet: int, keep: int = 0) -> Path:
        with av.open(str(source)) as container:
            packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
        place, size = packets[packet]
        content = bytearray(source.read_bytes())
        content[place + keep : place + size] = bytes(size - keep)
        damaged = source.with_stem(f"{source.stem}-damaged-{packet}")
        damaged.write_bytes(content)
        return damaged

    return damage
