"""``reid-dhm models``: published models by name, and one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reid_dhm.cli.model_comparison import compare
from reid_dhm.cli.options import BackboneOption, InputOption, NeckOption, SizeOption
from reid_dhm.cli.output import say

if TYPE_CHECKING:
    from reid_dhm.inference.zoo.entries import ZooModel

models = typer.Typer(
    help="Re-ID models and detectors by name: what there is, fetching, adding and comparing them.",
    invoke_without_command=True,
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As `reid-dhm models` lists it.")]


@models.callback()
def _without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


@models.command("list")
def list_models() -> None:
    """List the models that can be named, and which of them are on this machine.

    Example: reid-dhm models
    """
    from reid_dhm.cli.tables import SafeTable, plain_console
    from reid_dhm.inference.zoo import registry

    columns = ("name", "for", "here", "M parameters", "input", "trained on", "licence", "published")
    table = SafeTable(*columns, box=None)
    for model in registry.MODELS:
        height, width = model.size
        table.add_row(
            model.name,
            model.task,
            "yes" if registry.is_here(model) else "no",
            f"{model.parameters:.1f}",
            f"{height}x{width}",
            model.training_data,
            model.licence,
            model.published,
        )
    for own in registry.added():
        table.add_row(own.name, own.task, "yes", "", "", "", "", f"added, {own.path.name}")
    console = plain_console()
    width = plain_console(width=10_000).measure(table).maximum
    plain_console(width=max(width, console.width)).print(table)
    say(
        "The packaged model needs no name. Fetch another with `reid-dhm models pull NAME`, then "
        "pass --checkpoint NAME or --detector NAME."
    )


models.command("compare")(compare)


@models.command("pull")
def pull(
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the terms.")] = False,
) -> None:
    """Fetch a published model: verified, continued after an interruption.

    The licence and the terms of the training data are shown and accepted once.

    Example: reid-dhm models pull person-reidentification-retail-0277
    """
    from reid_dhm.inference.zoo import registry
    from reid_dhm.inference.zoo.entries import DETECTION

    def accept(model: ZooModel) -> bool:
        say(f"{model.name}: licence {model.licence}; trained on {model.training_data}")
        return yes or typer.confirm("Accept these terms?")

    path = registry.pull(name, accept)
    model = registry.published(name)
    option = "--detector" if model is not None and model.task == DETECTION else "--checkpoint"
    say(f"{path}\nnext: reid-dhm index-video {option} {name} --gallery DIR --camera CAM SOURCE")


@models.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="How it will be called.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Weights or a graph.")],
    task: Annotated[
        Literal["embedding", "detection"], typer.Option(help="What it is for.")
    ] = "embedding",
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
    input: InputOption = None,
) -> None:
    """Copy a model of your own into the models folder, to be used by name.

    Example: reid-dhm models add mine osnet.pth --backbone osnet_x0_25 --size 256x128 --neck none
    """
    from reid_dhm.inference.zoo import registry

    local = registry.add(name, file, task, backbone=backbone, size=size, neck=neck, input=input)
    option = "--detector" if task == "detection" else "--checkpoint"
    say(f"{local.path}\nnext: pass {option} {name}")
