"""``reid-dhm benchmark queue``: a graph in the embedder compared with OpenVINO's own queue."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from reid_dhm.cli.benchmark.embed import CountOption, ImagesOption, images_to_embed, spread
from reid_dhm.cli.options import JsonOption, write_json
from reid_dhm.cli.output import say


def queue(
    checkpoint: Annotated[str, typer.Argument(metavar="GRAPH", help="An .onnx, .xml or name.")],
    images: ImagesOption = None,
    num_images: CountOption = 512,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median is shown.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds per round of each.")] = 3.0,
    json: JsonOption = None,
) -> None:
    """Compare the embedder with a bare AsyncInferQueue of OpenVINO on the same decoded images.

    The queue's images are resized before the clock starts; the embedder resizes its own.

    Example: reid-dhm benchmark queue person-reidentification-retail-0277
    """
    from reid_dhm.benchmarks.embedding.queue import compare_with_queue
    from reid_dhm.data.images import read_image

    with tempfile.TemporaryDirectory() as scratch:
        paths = images_to_embed(images, num_images, Path(scratch))
        decoded = [read_image(path) for path in paths]
    rates = compare_with_queue(checkpoint, decoded, rounds, seconds)
    say(f"{Path(checkpoint).stem}, images per second, {len(decoded)} images, float32")
    say(f"embedder         {spread(rates.ours, '{:.1f}')}")
    say(f"AsyncInferQueue  {spread(rates.queue, '{:.1f}')}, {rates.batch} a request")
    say(f"ratio {rates.ratio:.3f}; lowest cosine between both {rates.cosine:.5f}")
    if json is not None:
        write_json(json, {"checkpoint": checkpoint, **asdict(rates), "ratio": rates.ratio})
