"""``reid-dhm models list``, ``pull`` and ``add``: published models by name, and one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reid_dhm.cli.options import BackboneOption, InputOption, NeckOption, SizeOption
from reid_dhm.cli.output import command_line, say, suggest
from reid_dhm.text import shell_word

if TYPE_CHECKING:
    from reid_dhm.inference.zoo.entries import ZooModel

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As `reid-dhm models` lists it.")]


def list_models() -> None:
    """List the models that can be named, and which of them are on this machine.

    Example: reid-dhm models
    """
    from rich.padding import Padding
    from rich.text import Text

    from reid_dhm.cli.output.tables import plain_console
    from reid_dhm.errors import InputError
    from reid_dhm.inference.zoo import registry
    from reid_dhm.inference.zoo.entries import DETECTION, EMBEDDING
    from reid_dhm.text import printable

    console = plain_console()
    form = "{:36}{:5}{:>7}{:>7} {:>8} {:>9}"
    for task, title in ((EMBEDDING, "re-identification"), (DETECTION, "detection of people")):
        say(form.format(title, "here", "MB", "M par.", "input", "images/s").rstrip())
        for model in registry.MODELS:
            if model.task == task:
                size, rate = registry.size_of(model.name), registry.speed(model.name)
                cells = (
                    *(model.name, "yes" if registry.is_here(model) else "no"),
                    *("" if size is None else f"{size / 1e6:.1f}", f"{model.parameters:.1f}"),
                    *("x".join(map(str, model.size)), "" if rate is None else f"{rate:.0f}"),
                )
                say(form.format(*cells).rstrip())
                console.print(Padding(Text(_facts(model)), (0, 0, 0, 4)))
        for name in registry.added_names():
            try:
                own = registry.find(name, task)
            except registry.DamagedEntryError as error:
                if task == EMBEDDING:  # once, as nobody knows its task
                    say(f"{name}: {error}", err=True)
                continue
            except InputError:  # of the other task
                continue
            if own is not None:
                rate = registry.speed(name)
                cells = (name, "yes", "", "", "", "" if rate is None else f"{rate:.0f}")
                say(form.format(*cells).rstrip())
                console.print(Padding(Text(printable(f"added: {own.path.name}")), (0, 0, 0, 4)))
        say("")
    say(
        "The packaged model needs no name. `reid-dhm models pull NAME` fetches another;\n"
        "then pass --checkpoint NAME or --detector NAME. images/s is what\n"
        "`reid-dhm models compare`, `benchmark footage-pairs` or `benchmark detectors`\n"
        "measured here last."
    )


def _facts(model: ZooModel) -> str:
    """Terms and published figures of a model."""
    unverified = "; no published checksum" if model.files[0].pinned_on_first_use else ""
    return (
        f"{model.licence}; training data: {model.training_data}; figures: {model.published}"
        f"{unverified}"
    )


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
        say(f"{model.name}: licence {model.licence}; training data: {model.training_data}")
        if model.files[0].pinned_on_first_use:
            say("Its publisher gives no checksum: what is fetched now is pinned by its SHA-256.")
        return yes or typer.confirm("Accept these terms?")

    path = registry.pull(name, accept)
    model = registry.published(name)
    option = "--detector" if model is not None and model.task == DETECTION else "--checkpoint"
    say(path)
    places = {"--gallery": "DIR", "--camera": "CAM"}
    suggest(f"{command_line('index-video', {option: name, **places})} SOURCE")


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
    say(local.path)
    suggest(f"pass {option} {shell_word(name)}")
