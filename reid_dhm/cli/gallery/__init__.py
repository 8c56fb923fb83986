"""``reid-dhm gallery``: list, label, export and delete what a gallery holds; check its file."""

from __future__ import annotations

import typer

from reid_dhm.cli.gallery.calibrate import calibrate
from reid_dhm.cli.gallery.contents import compact, export, list_, merge, show, verify
from reid_dhm.cli.gallery.copying import copy
from reid_dhm.cli.gallery.deletion import delete
from reid_dhm.cli.gallery.reembed import reembed

gallery = typer.Typer(
    help="List, label, export and delete what a gallery holds; check its file.",
    no_args_is_help=True,
)
gallery.command("list")(list_)
gallery.command("show")(show)
gallery.command("merge")(merge)
gallery.command("export")(export)
gallery.command("copy")(copy)
gallery.command("delete")(delete)
gallery.command("calibrate")(calibrate)
gallery.command("reembed")(reembed)
gallery.command("verify")(verify)
gallery.command("compact")(compact)
