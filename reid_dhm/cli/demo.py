"""``reid-dhm demo``: the whole pipeline on synthetic people, without downloads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from reid_dhm.cli.options import JsonOption, write_json
from reid_dhm.cli.output import command_line, say, suggest
from reid_dhm.errors import InputError


def demo(
    config: Annotated[Path, typer.Option(help="Training configuration.")] = Path("demo"),
    json: JsonOption = None,
) -> None:
    """Train on synthetic people with DHM, evaluate, and find a person again in synthetic video.

    Results of an earlier demonstration are replaced.

    Example: reid-dhm demo
    """
    from reid_dhm.config import load_config

    settings = load_config(config)
    epochs = settings.train.epochs
    if settings.data.name != ["synthetic"]:
        raise InputError(
            f"{config} trains on {', '.join(settings.data.name)}, not on synthetic people: use "
            "reid-dhm train for it"
        )
    from reid_dhm.cli.output.progress import progress_bar
    from reid_dhm.cli.output.tables import SafeTable, plain_console
    from reid_dhm.cli.train import epoch_line
    from reid_dhm.demo.footage import run_footage_demo
    from reid_dhm.demo.training import run_demo
    from reid_dhm.synthetic import write_synthetic

    run = Path(settings.output)
    say(f"Rendering people into {settings.data.root}")
    write_synthetic(Path(settings.data.root))
    if (run / "summary.json").is_file():
        shutil.rmtree(run)
    with progress_bar("Training") as bar:
        summary = run_demo(
            settings,
            say,
            lambda epoch, step, steps, figures: bar(epoch * steps + step, epochs * steps),
            lambda record: say(epoch_line(record, epochs)),
        )
    table = SafeTable(title="Synthetic people, Market-1501's protocol", title_justify="left")
    for column in ("embedding", "mAP", "rank-1"):
        table.add_column(column, justify="left" if column == "embedding" else "right")
    for name in ("untrained", "colour_histogram", "trained"):
        table.add_row(
            name.replace("_", " "),
            f"{summary[name]:.1%}",
            f"{summary['rank1'][name]:.1%}",
            style="bold" if name == "trained" else None,
        )
    plain_console(soft_wrap=True).print(table)
    say(f"index: {summary['index']} on {summary['device']}")
    footage = run_footage_demo(run / "footage", run, say)
    gallery = run / "footage" / "gallery"
    say(f"run folder: {run}; gallery: {gallery}; videos: {gallery.parent}")
    found = {"--gallery": gallery, "--tracklet": footage["query"], "--report": "found"}
    suggest(command_line("search", found))
    data = {"--dataset": "synthetic", "--data-root": settings.data.root}
    suggest(command_line("eval", {"--checkpoint": run, **data, "--report": "report"}))
    if json is not None:
        write_json(json, {**summary, "footage": footage})
