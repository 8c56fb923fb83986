"""``reid-dhm compare``: several models on the same queries, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from reid_dhm.cli.options import (
    AlphaOption,
    ApOption,
    BackboneOption,
    CameraRuleOption,
    DatabaseAugmentationOption,
    DataRootOption,
    DatasetOption,
    DatasetOptionsOption,
    DeviceOption,
    ExactPrecisionOption,
    FlipOption,
    JsonOption,
    K1Option,
    K2Option,
    LambdaOption,
    MetricOption,
    MultiQueryOption,
    NeckOption,
    QueryExpansionOption,
    ReportOption,
    RerankOption,
    SeedOption,
    SingleShotOption,
    SizeOption,
    TopKOption,
    build_settings,
    check_report_folder,
    refuse,
    write_json,
)
from reid_dhm.cli.progress import progress_bar
from reid_dhm.cli.results import NAMES, difference_text, figures_of, interval_text
from reid_dhm.evaluation.inputs import (
    ModelOptions,
    Sides,
    embed_sides,
    load_sides_dataset,
    read_sides,
)

if TYPE_CHECKING:
    from reid_dhm.evaluation.confidence import Estimate
    from reid_dhm.evaluation.run import Assessment, Settings

Data = tuple[str | None, Path | None, Sequence[str]]
"""Dataset, data root and dataset options, as the commands take them."""

Models: TypeAlias = "Sequence[tuple[Sides, Assessment]]"
Differences: TypeAlias = "Mapping[tuple[str, str], Mapping[str, Estimate]]"
"""(model, reference) → figure → model minus reference."""


def compare(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Checkpoints, or .npz files.")
    ],
    dataset: DatasetOption = None,
    data_root: DataRootOption = None,
    dataset_option: DatasetOptionsOption = None,
    metric: MetricOption = "cosine",
    camera_rule: CameraRuleOption = True,
    ap: ApOption = "standard",
    single_shot: SingleShotOption = False,
    multi_query: MultiQueryOption = None,
    seed: SeedOption = 0,
    rerank: RerankOption = False,
    k1: K1Option = None,
    k2: K2Option = None,
    lambda_: LambdaOption = None,
    query_expansion: QueryExpansionOption = 0,
    database_augmentation: DatabaseAugmentationOption = 0,
    alpha: AlphaOption = None,
    flip: FlipOption = False,
    device: DeviceOption = "auto",
    precision: ExactPrecisionOption = None,
    report: ReportOption = None,
    top_k: TopKOption = 10,
    json: JsonOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
) -> None:
    """Evaluate models on the same queries, with the intervals of their differences.

    Differences are taken to the first model. `reid-dhm eval --compare` is the same.

    Example: reid-dhm compare runs/baseline runs/dhm --dataset market1501 --report comparison

    Example: reid-dhm compare baseline.npz dhm.npz
    """
    settings = build_settings(
        metric=metric,
        camera_rule=camera_rule,
        ap=ap,
        single_shot=single_shot,
        multi_query=multi_query,
        seed=seed,
        rerank=rerank,
        k1=k1,
        k2=k2,
        lambda_=lambda_,
        query_expansion=query_expansion,
        database_augmentation=database_augmentation,
        alpha=alpha,
        top_k=top_k,
        device=device,
    )
    options = ModelOptions(flip, device, precision or "float32", backbone, size, neck)
    data = (dataset, data_root, dataset_option or ())
    compare_models(models, data, options, settings, report, json)


def compare_models(
    paths: Sequence[Path],
    data: Data,
    options: ModelOptions,
    settings: Settings,
    report: Path | None,
    json: Path | None,
) -> None:
    """Evaluate ``paths`` on the same queries; print, and write what was asked for."""
    if len(paths) < 2:
        raise typer.BadParameter("give two models or more to compare")
    if report is not None:
        check_report_folder(report)
    from reid_dhm.evaluation.run import assess, differences

    models = [
        (sides, assess(sides.query, sides.gallery, settings))
        for sides in _all_sides(paths, data, options)
    ]
    (first, reference), *others = models
    to_first = {
        (sides.name, first.name): differences((sides.name, assessment), (first.name, reference))
        for sides, assessment in others
    }
    if report is not None:
        from reid_dhm.cli.reports import write_comparison_report

        write_comparison_report(report, models, to_first)
    _print(models, to_first)
    if json is not None:
        write_json(json, comparison_figures(models, to_first))


def comparison_figures(models: Models, to_first: Differences) -> dict[str, Any]:
    """What ``--json`` writes: every model's figures, and differences with their intervals."""
    return {
        "models": {sides.name: figures_of(sides, assessment) for sides, assessment in models},
        "reference": models[0][0].name,
        "differences": {
            name: {
                figure: {"value": d.value, "interval": [d.low, d.high]} for figure, d in of.items()
            }
            for (name, _), of in to_first.items()
        },
    }


def _all_sides(paths: Sequence[Path], data: Data, options: ModelOptions) -> list[Sides]:
    """Every model's embeddings, under names that tell them apart."""
    name, root, words = data
    checkpoints = [path for path in paths if path.suffix != ".npz"]
    if checkpoints and name is None:
        raise typer.BadParameter(f"{checkpoints[0]} is a checkpoint: give the --dataset to embed")
    if not checkpoints and name is not None:
        raise typer.BadParameter("--dataset has no meaning where every model is an .npz: drop it")
    if not checkpoints:
        plain = ModelOptions(device=options.device)
        changed = [n for n, v in asdict(options).items() if v != getattr(plain, n)]
        refuse("where every model is an .npz: drop it", {f"--{name}": name for name in changed})
    if len({path.resolve() for path in paths}) < len(paths):
        raise typer.BadParameter("one model is given twice: give models of their own")
    dataset = None if name is None else load_sides_dataset(name, root, words)
    found = [
        read_sides(path)
        if dataset is None or path.suffix == ".npz"
        else embed_sides(path, dataset, options, progress_bar)
        for path in paths
    ]
    names = [sides.name for sides in found]
    if len(set(names)) == len(names):
        return found
    return [replace(sides, name=str(path)) for sides, path in zip(found, paths, strict=True)]


def _print(models: Models, to_first: Differences) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(models)} models, {models[0][0].data}", title_justify="left")
    for column in ("model", *NAMES.values()):
        table.add_column(column)
    for sides, assessment in models:
        table.add_row(
            sides.name, *(interval_text(assessment.final_intervals[name]) for name in NAMES)
        )
    table.add_section()
    for (name, reference), of in to_first.items():
        table.add_row(f"{name} − {reference}", *(difference_text(of[key]) for key in NAMES))
    Console(soft_wrap=True).print(table)
    print("95 % intervals, people resampled; a difference whose interval holds 0 may be chance")
