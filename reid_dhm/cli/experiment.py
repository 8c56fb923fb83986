"""``reid-dhm experiment``: a grid of trainings, its table and its report."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reid_dhm.cli.options import JsonOption, write_json
from reid_dhm.cli.output import count_of, say
from reid_dhm.cli.output.evaluation import difference_text, print_where
from reid_dhm.cli.output.progress import progress_bar
from reid_dhm.cli.output.tables import Table, plain_console

if TYPE_CHECKING:
    from reid_dhm.evaluation.repeats import Condition
    from reid_dhm.experiments.grid.plan import PlannedRun


def _devices(text: str) -> list[str]:
    from reid_dhm.devices import check_device_name

    names = [name.strip() for name in text.split(",")]
    for name in names:
        check_device_name(name)
    if "auto" in names and len(names) > 1:
        raise typer.BadParameter(f"{text}: name devices, or auto alone")
    if names != ["auto"]:
        return names
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


def experiment(
    grid: Annotated[Path, typer.Argument(metavar="GRID.yaml", help="What to train.")],
    devices: Annotated[
        str,
        typer.Option(
            "--devices",
            metavar="NAMES",
            help="auto (every GPU, else the CPU), or devices such as cuda:0,cuda:1; one run at a "
            "time on each. A small network leaves most of a large GPU idle: named twice, a device "
            "trains two runs at once.",
        ),
    ] = "auto",
    plan_only: Annotated[
        bool, typer.Option("--plan", help="Print the runs and the time they will take, and stop.")
    ] = False,
    json: JsonOption = None,
) -> None:
    """Train a grid of configurations, and compare them over seeds.

    Stopped anywhere, the same command goes on. The report appears in the grid's output folder.

    Example: reid-dhm experiment grid.yaml --plan

    Example: reid-dhm experiment grid.yaml --devices cuda:0,cuda:1
    """
    from reid_dhm.experiments.grid.plan import read_plan

    plan = read_plan(grid)
    chosen = _devices(devices)

    from reid_dhm.experiments.grid.estimate import estimate
    from reid_dhm.experiments.grid.runner import run_all

    left = estimate(plan, chosen[0], len(chosen))
    done = len(plan.runs) - len(left.seconds)
    say(
        f"{count_of(len(plan.runs), 'run')} of {count_of(len(plan.conditions), 'condition')} in "
        f"{plan.folder}, {done} done; training time left on {', '.join(chosen)}: "
        f"{_duration(left.total)}, evaluations not counted"
    )
    for run in plan.runs:
        seconds = left.seconds.get(run.folder.name)
        say(f"  {run.folder.name}: {'done' if seconds is None else _duration(seconds)}")
    if plan_only:
        return

    def report(event: str, run: PlannedRun, text: str) -> None:
        say(f"{run.folder.name}: {event}{f' ({text})' if text else ''}")

    failures = run_all(plan, chosen, report)

    from reid_dhm.errors import InputError
    from reid_dhm.experiments.grid.report import write_report
    from reid_dhm.experiments.grid.results import tabulate

    conditions = tabulate(
        plan, chosen[0], lambda run: say(f"{run.folder.name}: evaluating its best weights")
    )
    if conditions:
        with progress_bar("Comparing the models of the first seed") as progress:
            index = write_report(plan, conditions, failures, chosen[0], progress)
        _print(conditions)
        if json is not None:
            write_json(json, [each.summary() for each in conditions])
        print_where({"report": index, "figures": json})
    if failures:
        first = next(iter(failures))
        raise InputError(
            f"{count_of(len(failures), 'run')} failed, {first} with: {failures[first]}; the same "
            "command tries again"
        )


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _print(conditions: list[Condition]) -> None:
    names = list(conditions[0].figures)
    table = Table("condition", "seeds", *names, "training")
    for each in conditions:
        cells = []
        for name in names:
            mean, deviation = each.figures[name]
            text = f"{mean:.2%}" + ("" if deviation is None else f" ± {deviation * 100:.2f}")
            if name in each.differences:
                text += f"\n{difference_text(each.differences[name])}"
            cells.append(text)
        table.add_row(each.name, str(len(each.seeds)), *cells, f"{each.minutes:.1f} min")
    plain_console().print(table)
