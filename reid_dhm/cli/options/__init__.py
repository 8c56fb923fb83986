"""Options that several commands share, and their parsers."""

from __future__ import annotations

import json
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from reid_dhm.devices import check_device_name
from reid_dhm.files import is_standard_output

Size: TypeAlias = tuple[int, int]


def parse_size(text: str) -> Size:
    """``256x128`` → (256, 128), height first."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", text)
    if not found:
        raise typer.BadParameter(f"{text!r:.60} is not HEIGHTxWIDTH in pixels, such as 256x128")
    return int(found[1]), int(found[2])


MODEL = "A checkpoint on a dataset"
OTHERS = "Checkpoints without a card"

BackboneOption = Annotated[
    str | None, typer.Option("--backbone", rich_help_panel=OTHERS, help="E.g. osnet_x0_25.")
]
SizeOption = Annotated[
    Any,
    typer.Option(
        "--size",
        rich_help_panel=OTHERS,
        metavar="HxW",
        parser=parse_size,
        help="Input size in pixels, e.g. 256x128.",
    ),
]
NeckOption = Annotated[
    Literal["none", "bnneck"] | None,
    typer.Option(
        "--neck",
        rich_help_panel=OTHERS,
        help="none: the backbone's own test-time feature; bnneck: that after fast-reid's neck.",
    ),
]
InputOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        rich_help_panel=OTHERS,
        metavar="PRESET|FILE",
        help="Colours and normalisation of a graph: openvino, torchreid, fastreid, imagenet, or "
        "a JSON card.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        callback=check_device_name,
        help="auto (a GPU if there is one), cpu, cuda or cuda:N.",
    ),
]
PrecisionOption = Annotated[
    Literal["auto", "float32", "bf16", "fp16"],
    typer.Option(
        "--precision",
        help="auto: 16 bits if the device supports them and the first images agree with float32; "
        "float32: without TF32.",
    ),
]
FlipOption = Annotated[
    bool, typer.Option("--flip", help="Average each embedding with the mirrored image's.")
]


def leave_stdout(ctx: typer.Context, path: Path | None) -> Path | None:
    """Where ``path`` is the standard output, print everything else to the standard error."""
    if path is not None and is_standard_output(path):
        ctx.with_resource(redirect_stdout(sys.stderr))
    return path


def _check_json(ctx: typer.Context, path: Path | None) -> Path | None:
    """Refuse to overwrite the card of a model, or a file that holds no figures."""
    if path is not None and path.with_suffix(".safetensors").exists():
        raise typer.BadParameter(
            f"{path} is the card of {path.with_suffix('.safetensors')}: give another name"
        )
    path = leave_stdout(ctx, path)
    is_replaced = path is not None and path.is_file() and not is_standard_output(path)
    if path is not None and is_replaced and not _holds_json(path):
        raise typer.BadParameter(f"{path} exists and is not JSON: give another name")
    return path


def _holds_json(path: Path) -> bool:
    """Whether a file is empty or begins as the figures of these commands do."""
    with path.open("rb") as file:
        head = file.read(64).lstrip()
    return not head or head[:1] in (b"{", b"[")


JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        dir_okay=False,
        callback=_check_json,
        help="Also write the results to this file.",
    ),
]


def refuse(where: str, options: dict[str, Any]) -> None:
    """Refuse the first of ``options`` that is not None; ``where`` says why it has no effect."""
    if given := [option for option, value in options.items() if value is not None]:
        raise typer.BadParameter(f"{given[0]} has no effect {where}")


def write_json(path: Path, content: Any) -> None:
    """Write JSON; the file appears whole or not at all."""
    from reid_dhm.files import write_text

    write_text(path, json.dumps(content, indent=2) + "\n")
