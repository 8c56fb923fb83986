"""``reid-dhm models compare``: which model serves one's own footage best, without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from reid_dhm.cli.options import DeviceOption, JsonOption, write_json
from reid_dhm.cli.options.evaluation import ReportOption
from reid_dhm.cli.options.tracklets import GalleryOption
from reid_dhm.cli.output import command_line, count_of, say

if TYPE_CHECKING:
    from reid_dhm.evaluation.confidence import Estimate
    from reid_dhm.gallery.people.comparison.model_comparison import ModelComparison


def compare(
    folder: GalleryOption,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Checkpoints, names of `reid-dhm models`, or default (the packaged model).",
            show_default="the packaged model and all that are on this machine",
        ),
    ] = None,
    apart: Annotated[
        float,
        typer.Option(min=0, help="Least seconds between two images of one tracklet."),
    ] = 1.0,
    tracklets: Annotated[int, typer.Option(min=2, help="Most tracklets to look at.")] = 2000,
    report: ReportOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Rank models by how well they separate the people of a gallery. No labels are needed.

    Two people in one frame are two people, and images of one tracklet that were taken far apart in
    time show one. Weights without a card need a name: reid-dhm models add.

    Example: reid-dhm models compare --gallery galleries/site default
    person-reidentification-retail-0277 --report models
    """
    from reid_dhm.gallery.store.gallery import GalleryStore

    if report is not None:
        from reid_dhm.report.folder import check_folder

        check_folder(report)
    with GalleryStore(folder) as store:
        from reid_dhm.cli.output.progress import progress_bar
        from reid_dhm.gallery.people.comparison.model_comparison import compare_models
        from reid_dhm.inference.named import openers
        from reid_dhm.inference.zoo.registry import record_speed

        models = openers(names or (), device)
        with progress_bar("Comparing") as bar:
            comparison = compare_models(store, models, seconds=apart, limit=tracklets, report=bar)
        if report is not None:
            from reid_dhm.gallery.people.comparison.report import write_model_comparison

            write_model_comparison(report, comparison, store)
        owner = store.model()[1]
    for result in comparison.results:
        record_speed(result.name, result.images_per_second)
    _print(comparison)
    suggested = comparison.suggested.name
    if json is not None:
        write_json(json, comparison.to_dict())
    if report is not None:
        say(f"report: {report / 'index.html'}")
    if suggested != owner:
        name = None if suggested == "default" else suggested
        command = command_line("gallery reembed", {"--gallery": folder, "--checkpoint": name})
        say(f"next: {command}")


def _print(comparison: ModelComparison) -> None:
    from reid_dhm.cli.output.tables import SafeTable, plain_console

    known, rates = comparison.known, list(comparison.results[0].separation.tpr)
    columns = ("model", *(f"TPR at FPR {rate:.1%}" for rate in rates), "behind the best")
    table = SafeTable(*columns, "images/s", box=None)
    for result in comparison.results:
        behind = ""
        if result.behind is not None:
            verdict = "may be chance" if result.may_be_best else "worse"
            behind = f"{100 * result.behind.value:+.1f} points, {verdict}"
        table.add_row(
            result.label,
            *(_interval(tpr) for tpr in result.separation.tpr.values()),
            behind,
            f"{result.images_per_second:,.0f}",
        )
    console = plain_console()
    width = plain_console(width=10_000).measure(table).maximum
    plain_console(width=max(width, console.width)).print(table)
    say(
        f"{known.same.shape[1]:,} pairs of one person and {known.different.shape[1]:,} of two, "
        f"from {count_of(int(known.tracklets.max()) + 1, 'tracklet')}; {known.left_out} seen at "
        "once are left out (one body, or people who hide each other)"
    )
    say(f"suggested: {comparison.suggested.label}, the fastest of those that may be the best")


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
