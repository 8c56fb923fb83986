"""``reid-dhm compare``: several models on the same queries, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reid_dhm.cli.options import JsonOption, write_json
from reid_dhm.cli.options.evaluation import (
    DatasetChoice,
    ModelChoice,
    RankingChoice,
    ReportOption,
    refuse_model_options,
)
from reid_dhm.cli.options.groups import grouped
from reid_dhm.cli.output.evaluation import print_comparison, print_where, warn_missing_images
from reid_dhm.cli.output.progress import progress_bar

if TYPE_CHECKING:
    from reid_dhm.evaluation.inputs import QueryGallery


@grouped
def compare(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Checkpoints, or .npz files.")
    ],
    *,
    data: DatasetChoice,
    ranking: RankingChoice,
    model: ModelChoice,
    report: ReportOption = None,
    json: JsonOption = None,
) -> None:
    """Evaluate models on the same queries, with the intervals of their differences.

    Differences are taken to the first model. `reid-dhm eval --compare` is the same.

    Example: reid-dhm compare runs/baseline runs/dhm --dataset market1501 --report comparison

    Example: reid-dhm compare baseline.npz dhm.npz
    """
    compare_models(models, data, model, ranking, report, json)


def compare_models(
    paths: Sequence[Path],
    data: DatasetChoice,
    model: ModelChoice,
    ranking: RankingChoice,
    report: Path | None,
    json: Path | None,
) -> None:
    """Evaluate ``paths`` on the same queries; print, and write the files asked for."""
    settings = ranking.settings()
    _check(paths, data, model)
    if report is not None:
        from reid_dhm.report.folder import check_folder

        check_folder(report)
    inputs = _read_or_embed(paths, data, model, ranking.device)

    from reid_dhm.evaluation.comparison import Comparison
    from reid_dhm.evaluation.run import run

    comparison = Comparison.of([run(each, settings) for each in inputs])
    if report is not None:
        from reid_dhm.report.comparison_report import write_comparison

        with progress_bar("Writing the report") as progress:
            faults = write_comparison(report, comparison, on_progress=progress)
        warn_missing_images(faults)
    print_comparison(comparison)
    if json is not None:
        write_json(json, comparison.figures())
    print_where({"report": report and report / "index.html", "figures": json})


def _check(paths: Sequence[Path], data: DatasetChoice, model: ModelChoice) -> None:
    if len(paths) < 2:
        raise typer.BadParameter("give two models or more to compare")
    if len({path.resolve() for path in paths}) < len(paths):
        raise typer.BadParameter("one model is given twice: give different models")
    checkpoints = [path for path in paths if path.suffix != ".npz"]
    if checkpoints and data.dataset is None:
        raise typer.BadParameter(f"{checkpoints[0]} is a checkpoint: give the --dataset to embed")
    if not checkpoints:
        refuse_model_options("where every model is an .npz: leave it out", data, model)
    for checkpoint in checkpoints:
        data.options()
        model.check(checkpoint)


def _read_or_embed(
    paths: Sequence[Path], data: DatasetChoice, model: ModelChoice, device: str
) -> list[QueryGallery]:
    """Every model's embeddings; models of one name are called by their paths."""
    from reid_dhm.evaluation.inputs import embed_dataset, read_query_gallery

    dataset = None if data.dataset is None else data.load()
    inputs = [
        read_query_gallery(path)
        if dataset is None or path.suffix == ".npz"
        else embed_dataset(path, dataset, model.options(device), progress_bar)
        for path in paths
    ]
    if len({each.name for each in inputs}) == len(inputs):
        return inputs
    return [replace(each, name=str(path)) for each, path in zip(inputs, paths, strict=True)]
