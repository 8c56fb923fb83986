"""``reid-dhm train``: train from a configuration into a run folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from reid_dhm.cli.options import JsonOption, write_json
from reid_dhm.cli.output import command_line, say, suggest

if TYPE_CHECKING:
    from reid_dhm.config import Config


def train(
    config: Annotated[str, typer.Argument(help="Name of a configuration, or a YAML file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Keys of the configuration to change."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Train a model: baseline, deep supervision (DSL) or DHM.

    Example: reid-dhm train market1501_resnet50_dhm data.root=datasets seed=1

    Continue an interrupted run: the same command with resume=true

    Several GPUs: torchrun --nproc_per_node 4 -m reid_dhm train CONFIG
    """
    from reid_dhm.config import load_config

    settings = load_config(config, overrides or ())

    from reid_dhm.cli.output.progress import progress_bars
    from reid_dhm.experiments.run import run_experiment

    first = os.environ.get("RANK", "0") == "0"
    epochs = settings.train.epochs
    with progress_bars("Reading images", "Training", shown=first) as (decoded, trained):

        def progress(epoch: int, step: int, steps: int, figures: dict[str, float]) -> None:
            trained(epoch * steps + step, epochs * steps)

        def report(record: dict[str, float]) -> None:
            say(epoch_line(record, epochs))

        best = run_experiment(settings, progress, report, decoded)
    if not first:
        return
    say(f"best: {_figures(best)} (epoch {int(best['epoch']) + 1})")
    say(f"run folder: {settings.output}")
    if json is not None:
        write_json(json, {**best, "output": settings.output})
    if settings.task == "reid":
        suggest(next_command(settings))


def next_command(config: Config) -> str:
    """The command that evaluates the run in full, on its first dataset."""
    options = [
        f"{key}={value if isinstance(value, str) else str(value).lower()}"
        for key, value in config.data.options.items()
    ]
    return command_line(
        "eval",
        {
            "--checkpoint": config.output,
            "--dataset": config.data.name[0],
            "--data-root": config.data.root,
            "--dataset-option": options,
            "--no-camera-rule": not config.test.camera_rule,
        },
    )


def epoch_line(record: dict[str, float], epochs: int) -> str:
    """One epoch's record on one line."""
    line = (
        f"epoch {int(record['epoch']) + 1}/{epochs}: loss {record['train/total']:.3f}, "
        f"accuracy {record['train/accuracy']:.1%}, lr {record['train/lr']:.2e}, "
        f"{record['train/pictures_per_second']:.0f} images/s"
    )
    tests = {k.removeprefix("test/"): v for k, v in record.items() if k.startswith("test/")}
    tests.pop("seconds", None)
    return f"{line}; {_figures(tests)}" if tests else line


def _figures(figures: dict[str, float]) -> str:
    shown = {k: v for k, v in figures.items() if k not in ("epoch", "rank10", "rank20")}
    return ", ".join(f"{name} {value:.2%}" for name, value in shown.items())
