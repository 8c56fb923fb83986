"""``reid-dhm models``: published models by name, and one's own."""

from __future__ import annotations

import typer

from reid_dhm.cli.models.comparison import compare
from reid_dhm.cli.models.zoo import add, list_models, pull

models = typer.Typer(
    help="Re-ID models and detectors by name: what there is, fetching, adding and comparing them.",
    invoke_without_command=True,
)


@models.callback()
def _without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


models.command("list")(list_models)
models.command("compare")(compare)
models.command("pull")(pull)
models.command("add")(add)
