"""Options that several commands share, and what their words mean."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

if TYPE_CHECKING:
    from reid_dhm.evaluation.run import Settings

Size: TypeAlias = tuple[int, int]


def parse_size(text: str) -> Size:
    """``256x128`` → (256, 128), height first."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise typer.BadParameter(f"{text!r} is no HEIGHTxWIDTH in pixels, such as 256x128")
    return int(found[1]), int(found[2])


MODEL = "A checkpoint on a dataset"
OTHERS = "Checkpoints without a card"

BackboneOption = Annotated[
    str | None, typer.Option("--backbone", rich_help_panel=OTHERS, help="E.g. osnet_x0_25.")
]
SizeOption = Annotated[
    Any,
    typer.Option(
        "--size",
        rich_help_panel=OTHERS,
        metavar="HxW",
        parser=parse_size,
        help="Input size in pixels, e.g. 256x128.",
    ),
]
NeckOption = Annotated[
    Literal["none", "bnneck"] | None,
    typer.Option(
        "--neck",
        rich_help_panel=OTHERS,
        help="none: the backbone's own test-time feature; bnneck: fast-reid's, behind its neck.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda or cuda:N.")
]
PrecisionOption = Annotated[
    Literal["auto", "float32", "bf16", "fp16"],
    typer.Option(
        "--precision",
        help="auto (16 bits where the device computes in them and the first images agree with "
        "float32), or one of them; float32 is without TF32.",
    ),
]
ExactPrecisionOption = Annotated[
    Literal["auto", "float32", "bf16", "fp16"] | None,
    typer.Option(
        "--precision",
        show_default="float32",
        help="16 bits are quicker and move figures by tenths of a point; auto takes them where the "
        "first images agree with float32.",
    ),
]
FlipOption = Annotated[
    bool, typer.Option("--flip", help="Average each embedding with the mirrored image's.")
]
DatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", rich_help_panel=MODEL, help="Its name, e.g. market1501."),
]
DataRootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root", rich_help_panel=MODEL, help="Where datasets lie.", show_default="datasets"
    ),
]
DatasetOptionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset-option",
        rich_help_panel=MODEL,
        metavar="KEY=VALUE",
        help="One of its options in datasets/README.md, e.g. boxes=labeled; repeatable.",
    ),
]

PROTOCOL = "Protocol"
SINGLE_SHOT_DRAWS = 10

MetricOption = Annotated[
    Literal["cosine", "euclidean"],
    typer.Option(
        "--metric",
        rich_help_panel=PROTOCOL,
        help="euclidean takes embeddings as they are, not normalised.",
    ),
]
CameraRuleOption = Annotated[
    bool,
    typer.Option(
        "--camera-rule/--no-camera-rule",
        rich_help_panel=PROTOCOL,
        help="Leave out the query's own person from the query's own camera.",
    ),
]
ApOption = Annotated[
    Literal["standard", "trapezoid"],
    typer.Option(
        "--ap",
        rich_help_panel=PROTOCOL,
        help="Average precision; trapezoid is the original Market-1501 code's.",
    ),
]
SingleShotOption = Annotated[
    bool,
    typer.Option(
        "--single-shot",
        rich_help_panel=PROTOCOL,
        help="One random gallery image of each person, mean of ten draws (CUHK03 classic).",
    ),
]
MultiQueryOption = Annotated[
    Literal["mean", "max"] | None,
    typer.Option(
        "--multi-query",
        rich_help_panel=PROTOCOL,
        help="Pool the query images of one person and camera into one query.",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        "--seed", rich_help_panel=PROTOCOL, help="Of intervals, draws and random examples."
    ),
]

RANKING = "After the search"

RerankOption = Annotated[
    bool,
    typer.Option("--rerank", rich_help_panel=RANKING, help="k-reciprocal re-ranking."),
]
K1Option = Annotated[
    int | None,
    typer.Option(
        "--k1", rich_help_panel=RANKING, show_default="20", help="Re-ranking: neighbours."
    ),
]
K2Option = Annotated[
    int | None,
    typer.Option(
        "--k2",
        rich_help_panel=RANKING,
        show_default="6",
        help="Re-ranking: neighbours averaged.",
    ),
]
LambdaOption = Annotated[
    float | None,
    typer.Option(
        "--lambda",
        rich_help_panel=RANKING,
        show_default="0.3",
        help="Re-ranking: weight of the first distance.",
    ),
]
QueryExpansionOption = Annotated[
    int,
    typer.Option(
        "--query-expansion",
        rich_help_panel=RANKING,
        min=0,
        metavar="K",
        help="Average every query with its K neighbours.",
    ),
]
DatabaseAugmentationOption = Annotated[
    int,
    typer.Option(
        "--database-augmentation",
        rich_help_panel=RANKING,
        min=0,
        metavar="K",
        help="Average every gallery image with its K neighbours.",
    ),
]
AlphaOption = Annotated[
    float | None,
    typer.Option(
        "--alpha",
        rich_help_panel=RANKING,
        min=0,
        show_default="3",
        help="Neighbours weigh similarity^alpha.",
    ),
]

REPORT = "Report"

ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report", rich_help_panel=REPORT, metavar="DIR", help="Write a report for a browser."
    ),
]
TopKOption = Annotated[
    int,
    typer.Option("--top-k", rich_help_panel=REPORT, min=1, help="Answers shown for a query."),
]


def _check_json(path: Path | None) -> Path | None:
    """Refuse the place of a model's card, which figures would destroy."""
    if path is not None and path.with_suffix(".safetensors").exists():
        raise typer.BadParameter(
            f"{path} is the card of {path.with_suffix('.safetensors')}: give another name"
        )
    return path


JsonOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        dir_okay=False,
        callback=_check_json,
        help="Write the figures here as well.",
    ),
]


def build_settings(
    *,
    rerank: bool,
    k1: int | None,
    k2: int | None,
    lambda_: float | None,
    alpha: float | None,
    single_shot: bool,
    **given: Any,
) -> Settings:
    """The settings of a ranking from the words of a command; None is an option not given.

    Args:
        given: the other fields of :class:`~reid_dhm.evaluation.run.Settings`.
    """
    from reid_dhm.evaluation.run import Settings
    from reid_dhm.retrieval.rerank import Reranking

    of_reranking: dict[str, Any] = {"k1": k1, "k2": k2, "weight": lambda_}
    chosen = {name: value for name, value in of_reranking.items() if value is not None}
    if not rerank:
        refuse("without --rerank", {"--k1": k1, "--k2": k2, "--lambda": lambda_})
    if alpha is not None:
        given["alpha"] = alpha
        if not (given["query_expansion"] or given["database_augmentation"]):
            refuse("without --query-expansion or --database-augmentation", {"--alpha": alpha})
    return Settings(
        **given,
        single_shot=SINGLE_SHOT_DRAWS if single_shot else 0,
        rerank=Reranking(**chosen) if rerank else None,
    )


def refuse(where: str, options: dict[str, Any]) -> None:
    """Refuse the first of ``options`` that was given; ``where`` it has no meaning."""
    if given := [option for option, value in options.items() if value is not None]:
        raise typer.BadParameter(f"{given[0]} has no meaning {where}")


def check_report_folder(folder: Path) -> None:
    """Refuse a folder that a report must not replace, before the work and not after it."""
    from reid_dhm.report import check_folder

    check_folder(folder)


def write_json(path: Path, content: Any) -> None:
    """Write figures for machines; the file appears whole or not at all."""
    from reid_dhm.files import write_text

    write_text(path, json.dumps(content, indent=2) + "\n")
