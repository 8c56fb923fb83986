"""``reid-dhm embed``: a folder of images to a file of embeddings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from reid_dhm.cli.options import (
    BackboneOption,
    DeviceOption,
    FlipOption,
    InputOption,
    JsonOption,
    NeckOption,
    PrecisionOption,
    SizeOption,
    write_json,
)
from reid_dhm.cli.output import say, suggest
from reid_dhm.cli.output.hints import suggest_better_model
from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.text import shell_word


def embed(
    images: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of images, searched at any depth.")
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The .npz to write.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="A run folder, a .safetensors with its card, an exported .onnx or .xml, "
            "third-party weights, or a name of `reid-dhm models`.",
            show_default="the package's own model",
        ),
    ] = None,
    engine: Annotated[
        Literal["auto", "torch", "openvino", "onnxruntime"],
        typer.Option(
            help="auto: the first of OpenVINO in bf16, ONNX Runtime, OpenVINO and PyTorch (on a "
            "GPU, PyTorch and ONNX Runtime) that is installed and agrees with PyTorch in float32 "
            "on the first images. An exported file runs on the CPU.",
        ),
    ] = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="Engine torch on a GPU: compile it and replay one CUDA graph."
        ),
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=4096,
            help="Images per batch.",
            show_default="depends on the engine",
        ),
    ] = None,
    flip: FlipOption = False,
    on_error: Annotated[
        Literal["stop", "skip"],
        typer.Option(help="For an unreadable image: stop before anything is written, or skip it."),
    ] = "stop",
    json: JsonOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
    input: InputOption = None,
) -> None:
    """Embed every image of a folder, in sorted path order.

    The file holds `embeddings` (N, D), unit rows of float32, and `paths` (N,).

    Example: reid-dhm embed --images crops --output crops.npz
    """
    from reid_dhm.cli.output.progress import progress_bar
    from reid_dhm.inference.checkpoint_file import find_checkpoint
    from reid_dhm.inference.default import DEFAULT_CHECKPOINT
    from reid_dhm.inference.embedder import Embedder
    from reid_dhm.retrieval.npz import write_embeddings

    if json == output:
        raise typer.BadParameter(f"{json} is --output as well: give --json another name")
    found = find_checkpoint(checkpoint or DEFAULT_CHECKPOINT, backbone, size, neck, input)
    if output.is_dir():
        raise InputError(f"--output {output} is a folder: give the name of a file to write")
    paths = images_below(images)
    embedder = Embedder(
        found,
        engine=engine,
        device=device,
        flip=flip,
        batch_size=batch_size,
        precision=precision,
        compiled=compiled,
    )
    output.parent.mkdir(parents=True, exist_ok=True)

    skipped: dict[int, InputError] = {}
    start = time.perf_counter()
    with progress_bar("Embedding") as progress:
        embeddings = embedder(paths, progress, _stop if on_error == "stop" else skipped.__setitem__)
    seconds = time.perf_counter() - start
    kept = [path for row, path in enumerate(paths) if row not in skipped]
    if not kept:
        raise InputError(
            f"none of the {len(paths)} images in {images} can be read: see --on-error stop"
        )
    write_embeddings(output, embeddings, kept)

    for error in skipped.values():
        say(f"skipped: {error}", err=True)
    left_out = f", {len(skipped)} skipped" if skipped else ""
    say(
        f"{len(kept)} images{left_out}, {embedder.dim} dimensions: {output}\n"
        f"{seconds:.1f} s, {len(paths) / seconds:.0f} images a second "
        f"({embedder.engine} in {embedder.precision} on {embedder.device})"
    )
    code = f"import numpy; print(numpy.load({str(output)!r})['embeddings'].shape)"
    suggest(f"python -c {shell_word(code)}")
    suggest_better_model(checkpoint, json)
    if json is not None:
        figures = {
            "num_pictures": len(kept),
            "dim": embedder.dim,
            "skipped": [
                {"path": paths[row], "reason": str(error)} for row, error in skipped.items()
            ],
            "fingerprint": embedder.fingerprint,
            "engine": embedder.engine,
            "precision": embedder.precision,
            "device": embedder.device,
            "seconds": seconds,
        }
        write_json(json, figures)


def _stop(row: int, error: InputError) -> None:
    raise InputError(f"{error} (--on-error skip leaves it out and continues)") from error


def images_below(folder: Path) -> list[str]:
    """Image files in ``folder`` and the folders below it, hidden ones left out, sorted.

    Raises:
        InputError: no such folder, or no image in it.
    """
    from reid_dhm.data.listing import list_images_below

    if not folder.is_dir():
        raise NotFoundError(f"{folder} is not a folder: give the folder that holds the images")
    paths = [str(path) for path in list_images_below(folder)]
    if not paths:
        raise InputError(f"{folder} contains no images: give a folder of images")
    return paths
