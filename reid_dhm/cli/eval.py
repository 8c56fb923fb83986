"""``reid-dhm eval``: CMC, mAP and mINP of a checkpoint on a dataset, or of embeddings in a file."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reid_dhm.cli.compare import compare_models
from reid_dhm.cli.options import MODEL, JsonOption, refuse, write_json
from reid_dhm.cli.options.evaluation import (
    REPORT,
    DatasetChoice,
    ModelChoice,
    RankingChoice,
    ReportOption,
    refuse_model_options,
)
from reid_dhm.cli.options.groups import grouped
from reid_dhm.cli.output.evaluation import print_results, print_where, warn_missing_images
from reid_dhm.cli.output.progress import progress_bar
from reid_dhm.errors import InputError, ReidError

if TYPE_CHECKING:
    from reid_dhm.evaluation.run import EvaluationRun

logger = logging.getLogger(__name__)

FILE = "Embeddings in a file"


@grouped
def evaluate(
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[MODEL]...", help="With --compare: checkpoints or .npz files."),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", rich_help_panel=REPORT, help="The same as the command reid-dhm compare."
        ),
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=MODEL,
            help="A run folder, a .safetensors with its card, an exported .onnx or .xml, "
            "third-party weights, or a name of `reid-dhm models`.",
        ),
    ] = None,
    *,
    data: DatasetChoice,
    save_embeddings: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=MODEL, metavar="FILE", help="Save the embeddings for --embeddings."
        ),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=FILE,
            metavar="FILE",
            help="An .npz of query_ and gallery_ embeddings, pids and camids.",
        ),
    ] = None,
    ranking: RankingChoice,
    model: ModelChoice,
    report: ReportOption = None,
    cam: Annotated[
        bool,
        typer.Option("--cam", rich_help_panel=REPORT, help="Add activation maps to the report."),
    ] = False,
    people: Annotated[
        Any,
        typer.Option(
            "--map",
            rich_help_panel=REPORT,
            metavar="PIDS",
            parser=lambda text: parse_people(text),
            help="Add a map of people's embeddings: ids as 12,45, or confused:10.",
        ),
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write match thresholds here; a run folder always gets its thresholds.json.",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Evaluate a model, or embeddings of any origin: CMC, mAP and mINP with their intervals.

    Example: reid-dhm eval --checkpoint runs/demo --dataset market1501 --data-root datasets

    Example: reid-dhm eval --embeddings market.npz --metric euclidean --rerank --report report
    """
    of_model = {"--checkpoint": checkpoint, "--save-embeddings": save_embeddings}
    of_report = {"--cam": cam or None, "--map": people}
    if compare:
        of_file = {"--embeddings": embeddings, "--thresholds": thresholds}
        refuse("with --compare: leave it out", of_model | of_report | of_file)
        compare_models(models or [], data, model, ranking, report, json)
        return
    settings = ranking.settings()
    if thresholds is not None and settings.changes_embeddings:
        raise typer.BadParameter(
            "--thresholds describe single images: leave out --thresholds, or --multi-query, "
            "--query-expansion and --database-augmentation"
        )
    if models:
        raise typer.BadParameter(f"unexpected argument {models[0]}: use --checkpoint or --compare")
    if report is None:
        refuse("without --report", of_report)
    else:
        from reid_dhm.report.folder import check_folder

        check_folder(report)
    if embeddings is not None:
        reason = "with --embeddings: leave out one of them"
        refuse(reason, of_model | {"--cam": cam or None})
        refuse_model_options(reason, data, model)
    elif checkpoint is None or data.dataset is None:
        raise typer.BadParameter("give --checkpoint with --dataset, or --embeddings")
    else:
        data.options()
        model.check(checkpoint)

    from reid_dhm.evaluation.inputs import (
        embed_dataset,
        read_query_gallery,
        write_query_gallery,
    )

    if embeddings is not None:
        inputs = read_query_gallery(embeddings)
    else:
        assert checkpoint is not None
        options = model.options(ranking.device)
        inputs = embed_dataset(checkpoint, data.load(), options, progress_bar)
    if save_embeddings is not None:
        write_query_gallery(save_embeddings, inputs)
    if isinstance(people, tuple) and (unknown := set(people) - set(inputs.query.pids.tolist())):
        raise InputError(f"--map: person {min(unknown)} has no query image: give other ids")
    activation = inputs.activation_maps(ranking.device) if cam else None

    from reid_dhm.evaluation.run import run

    done = run(inputs, settings)
    if report is not None:
        from reid_dhm.report.evaluation_report import write_report

        with progress_bar("Writing the report") as progress:
            faults = write_report(
                report,
                done,
                seed=settings.seed,
                map_people=people,
                activation=activation,
                on_progress=progress,
            )
        warn_missing_images(faults)
    if thresholds is not None:
        from reid_dhm.evaluation.thresholds import write_run_thresholds

        write_run_thresholds(thresholds, done)
    calibrates = settings.calibrates_search and not model.flip
    if checkpoint is not None and checkpoint.is_dir() and calibrates:
        _keep_thresholds(checkpoint, done)
    print_results(done)
    if json is not None:
        write_json(json, done.figures())
    print_where({"report": report and report / "index.html", "figures": json})


def _keep_thresholds(folder: Path, done: EvaluationRun) -> None:
    """Write the thresholds of a run folder's model, as far as possible.

    Those of another dataset, or from more pairs, are not replaced.
    """
    from reid_dhm.evaluation.thresholds import keep_reason, write_run_thresholds

    path = folder / "thresholds.json"
    try:
        if reason := keep_reason(path, done):
            logger.warning("%s: %s", path, reason)
        else:
            write_run_thresholds(path, done)
    except (ReidError, OSError) as error:  # nobody asked for this file
        logger.warning("%s: thresholds.json was not written: %s", folder, error)


def parse_people(text: str) -> tuple[int, ...] | int:
    """``12,45`` → (12, 45); ``confused:10`` → 10."""
    count = re.fullmatch(r"confused:([1-9]\d{0,8})", text)
    if count:
        return int(count[1])
    if not re.fullmatch(r"\d{1,18}(,\d{1,18})*", text):
        raise typer.BadParameter(f"{text!r:.60} is not a list of ids like 12,45 or confused:10")
    return tuple(int(pid) for pid in text.split(","))
