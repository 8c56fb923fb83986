"""``reid-dhm eval``: CMC, mAP and mINP of a checkpoint on a dataset, or of embeddings in a file."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reid_dhm.cli.compare import compare_models
from reid_dhm.cli.options import (
    MODEL,
    REPORT,
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
from reid_dhm.cli.results import (
    figures_of,
    keep_other_thresholds,
    print_results,
    save_thresholds,
)
from reid_dhm.errors import InputError, ReidError
from reid_dhm.evaluation.inputs import (
    ModelOptions,
    Sides,
    embed_sides,
    load_sides_dataset,
    read_sides,
    save_sides,
)

if TYPE_CHECKING:
    from reid_dhm.evaluation.run import Assessment, Measured

logger = logging.getLogger(__name__)

FILE = "Embeddings in a file"


def evaluate(
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[MODEL]...", help="With --compare: checkpoints or .npz files."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", rich_help_panel=REPORT, help="Several models on the same queries."
        ),
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=MODEL,
            help="A run folder, a .safetensors with its card, or others' weights.",
        ),
    ] = None,
    dataset: DatasetOption = None,
    data_root: DataRootOption = None,
    dataset_option: DatasetOptionsOption = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=FILE,
            metavar="FILE",
            help="An .npz of query_ and gallery_ embeddings, pids and camids.",
        ),
    ] = None,
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
    save_embeddings: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=MODEL, metavar="FILE", help="Keep the embeddings for --embeddings."
        ),
    ] = None,
    report: ReportOption = None,
    top_k: TopKOption = 10,
    cam: Annotated[
        bool,
        typer.Option("--cam", rich_help_panel=REPORT, help="With activation maps in the lists."),
    ] = False,
    people: Annotated[
        Any,
        typer.Option(
            "--map",
            rich_help_panel=REPORT,
            metavar="PIDS",
            parser=lambda text: parse_people(text),
            help="With a map of people's embeddings: ids as 12,45, or confused:10.",
        ),
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the thresholds here; a run folder gets them by itself."
        ),
    ] = None,
    json: JsonOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
) -> None:
    """Evaluate a model, or embeddings made elsewhere: CMC, mAP and mINP with their intervals.

    Example: reid-dhm eval --checkpoint runs/demo --dataset market1501 --data-root datasets

    Example: reid-dhm eval --embeddings market.npz --metric euclidean --rerank --report report

    Example: reid-dhm eval --compare runs/a runs/b --dataset market1501 --report comparison
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
    of_data = {
        "--dataset": dataset,
        "--data-root": data_root,
        "--dataset-option": dataset_option or None,
        "--flip": flip or None,
        "--precision": precision,
        "--backbone": backbone,
        "--size": size,
        "--neck": neck,
    }
    of_a_model = {
        "--checkpoint": checkpoint,
        "--save-embeddings": save_embeddings,
        "--cam": cam or None,
    }
    if compare:
        of_a_file = {"--embeddings": embeddings, "--map": people, "--thresholds": thresholds}
        refuse("beside --compare: drop one", of_a_model | of_a_file)
        data = (dataset, data_root, dataset_option or ())
        compare_models(models or [], data, options, settings, report, json)
        return
    if thresholds is not None and settings.changes_embeddings:
        raise typer.BadParameter(
            "--thresholds are for single images: drop it, or multi-query, expansion and "
            "augmentation"
        )
    if models:
        raise typer.BadParameter(f"{models[0]} stands alone: say --checkpoint or --compare")
    if report is None:
        refuse("without --report", {"--cam": cam or None, "--map": people})
    else:
        check_report_folder(report)
    if embeddings is not None:
        refuse("beside --embeddings: drop one", of_a_model | of_data)
        sides = read_sides(embeddings)
    elif checkpoint is not None and dataset is not None:
        loaded = load_sides_dataset(dataset, data_root, dataset_option or ())
        sides = embed_sides(checkpoint, loaded, options, progress_bar)
    else:
        raise typer.BadParameter("give --checkpoint with --dataset, or --embeddings")
    if save_embeddings is not None:
        save_sides(save_embeddings, sides)

    if isinstance(people, tuple) and (unknown := set(people) - set(sides.query.pids.tolist())):
        raise InputError(f"--map: person {min(unknown)} has no query image; name others")

    from reid_dhm.evaluation.run import assess

    assessment = assess(sides.query, sides.gallery, settings)
    measured = None
    if thresholds is not None or report is not None:
        measured = assessment.measure()
    if report is not None and measured is not None:
        from reid_dhm.cli.reports import write_evaluation_report

        write_evaluation_report(
            report, sides, assessment, measured, cam=cam, people=people, device=device
        )
    if thresholds is not None and measured is not None:
        save_thresholds(thresholds, sides, measured)
    as_in_search = settings.calibrates_search and not flip
    if checkpoint is not None and checkpoint.is_dir() and as_in_search:
        measured = _keep_thresholds(checkpoint, sides, assessment, measured)
    print_results(sides, assessment, measured.points if measured is not None else None)
    if json is not None:
        write_json(json, figures_of(sides, assessment))


def _keep_thresholds(
    run: Path, sides: Sides, assessment: Assessment, measured: Measured | None
) -> Measured | None:
    """Leave in a run folder the thresholds that its model needs in a search, where that can be.

    Those of another dataset, or from more pairs, are not replaced.
    """
    path = run / "thresholds.json"
    try:
        measured = measured or assessment.measure()
        if keep_other_thresholds(path, sides, measured):
            return measured
        save_thresholds(path, sides, measured)
    except (ReidError, OSError) as error:  # nobody asked for them
        logger.warning("%s gets no thresholds.json: %s", run, error)
    return measured


def parse_people(text: str) -> tuple[int, ...] | int:
    """``12,45`` → (12, 45); ``confused:10`` → 10."""
    count = re.fullmatch(r"confused:([1-9]\d*)", text)
    if count:
        return int(count[1])
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise typer.BadParameter(f"{text!r} is no list of person ids like 12,45, nor confused:10")
    return tuple(int(pid) for pid in text.split(","))
