"""``reid-dhm export``: a trained model as a file for other programs, verified as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from reid_dhm.cli.options import (
    BackboneOption,
    InputOption,
    JsonOption,
    NeckOption,
    SizeOption,
    write_json,
)
from reid_dhm.cli.output import command_line, say, suggest

INT8 = "Int8"


def export(
    checkpoint: Annotated[
        Path,
        typer.Option(help="A run folder, a .safetensors with its card, or third-party weights."),
    ],
    format: Annotated[
        Literal["onnx", "openvino", "torchscript", "safetensors"],
        typer.Option(help="safetensors is weights and a card for reid-dhm itself."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="What to write, ending in .onnx, .xml, .pt or .safetensors."
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Real images to verify the file on, at any depth."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", rich_help_panel=INT8, help="Quantise; needs nncf.")
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=INT8,
            metavar="DIR",
            help="Images like those it will see, at any depth.",
        ),
    ] = None,
    json: JsonOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
    input: InputOption = None,
) -> None:
    """Write the deployed model: uint8 RGB images in, L2-normalised embeddings out.

    Preprocessing is part of the file, and batches may have any size. The file is compared with
    PyTorch's float32 embeddings on random images and on real ones (from --images, or those of
    --calibration that are not used for it) and kept only if the lowest cosine is at least 0.999.
    For int8 the mean over real images must be at least 0.99; single images may lie below.

    Example: reid-dhm export --checkpoint runs/demo --format onnx --output demo.onnx
    """
    if int8 != (calibration is not None):
        raise typer.BadParameter("--int8 and --calibration DIR go together: give both or neither")
    if format == "safetensors" and json == output.with_suffix(".json"):
        raise typer.BadParameter(f"{json} will be the card of {output}: give --json another name")
    from reid_dhm.cli.embed import images_below
    from reid_dhm.inference.checkpoint_file import find_checkpoint
    from reid_dhm.inference.export.formats import CALIBRATION, VERIFICATION, check_request

    check_request(format, output, int8)
    file = find_checkpoint(checkpoint, backbone, size, neck, input)
    found = images_below(calibration) if calibration is not None else []
    # Up to a fifth of the images verify the file, so they are not used to calibrate it.
    aside = set(_some(found, min(VERIFICATION, len(found) // 5)))
    known = _some([path for path in found if path not in aside], CALIBRATION)
    real = _some(images_below(images), VERIFICATION) if images is not None else sorted(aside)

    from reid_dhm.inference.checkpoints import open_checkpoint
    from reid_dhm.inference.export.writer import export_model

    agreements = export_model(*open_checkpoint(file), format, output, real, known)

    kind = f"{format}, int8 of {len(known)} images" if int8 else f"{format}, float32"
    say(f"{output}: {kind}")
    for agreement in agreements:
        say(
            f"cosine to PyTorch in float32 on {agreement.count} {agreement.images} images: "
            f"lowest {agreement.lowest:.6f}, mean {agreement.mean:.6f}"
        )
    if all(agreement.images == "random" for agreement in agreements):
        say("only random images were compared: add --images DIR for real ones", err=True)
    if format == "torchscript":
        say(f"next: load it with torch.jit.load({str(output)!r})")
    else:
        files = {"--images": "DIR", "--output": "FILE.npz"}
        suggest(command_line("embed", {"--checkpoint": output, **files}))
    if json is not None:
        cosine = {
            agreement.images: {
                "count": agreement.count,
                "lowest": agreement.lowest,
                "mean": agreement.mean,
            }
            for agreement in agreements
        }
        figures = {
            "output": str(output),
            "format": format,
            "precision": "int8" if int8 else "float32",
            "bytes": output.stat().st_size + _beside(output),
            "cosine": cosine,
        }
        write_json(json, figures)


def _some(paths: list[str], count: int) -> list[str]:
    from reid_dhm.inference.export.formats import spread

    return [paths[row] for row in spread(len(paths), count)]


def _beside(output: Path) -> int:
    """Bytes of OpenVINO's weights, which are a file of their own."""
    weights = output.with_suffix(".bin")
    return weights.stat().st_size if output.suffix == ".xml" else 0
