"""Options that ``eval`` and ``compare`` share, in groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reid_dhm.cli.options import (
    MODEL,
    BackboneOption,
    DeviceOption,
    FlipOption,
    InputOption,
    NeckOption,
    SizeOption,
    refuse,
)
from reid_dhm.cli.options.groups import given

if TYPE_CHECKING:
    from reid_dhm.data.samples import ReIDDataset
    from reid_dhm.evaluation.inputs import ModelOptions
    from reid_dhm.evaluation.settings import Settings

PROTOCOL = "Protocol"
REFINEMENT = "Expansion and re-ranking"
REPORT = "Report"
SINGLE_SHOT_DRAWS = 10

ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report", rich_help_panel=REPORT, metavar="DIR", help="Write an HTML report here."
    ),
]


@dataclass(frozen=True)
class DatasetChoice:
    """The dataset that a checkpoint is evaluated on."""

    dataset: Annotated[
        str | None,
        typer.Option("--dataset", rich_help_panel=MODEL, help="Its name, e.g. market1501."),
    ] = None
    data_root: Annotated[
        Path | None,
        typer.Option(
            "--data-root",
            rich_help_panel=MODEL,
            help="Folder that holds the dataset.",
            show_default="datasets",
        ),
    ] = None
    dataset_option: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset-option",
            rich_help_panel=MODEL,
            metavar="KEY=VALUE",
            help="An option listed in datasets/README.md, e.g. boxes=labeled; repeatable.",
        ),
    ] = None

    def load(self) -> ReIDDataset:
        """The query and gallery images of the dataset."""
        from reid_dhm.data.datasets import load_dataset

        root = self.data_root or Path("datasets")
        return load_dataset(str(self.dataset), root, ("query", "gallery"), **self.options())

    def options(self) -> dict[str, Any]:
        """The loader's options; wrong usage is reported."""
        return parse_dataset_options(self.dataset_option or [])


@dataclass(frozen=True)
class ModelChoice:
    """How a checkpoint is opened and run."""

    flip: FlipOption = False
    precision: Annotated[
        Literal["auto", "float32", "bf16", "fp16"] | None,
        typer.Option(
            "--precision",
            show_default="float32",
            help="16 bits are faster and change figures by tenths of a point; auto takes them "
            "where the first images agree with float32.",
        ),
    ] = None
    backbone: BackboneOption = None
    size: SizeOption = None
    neck: NeckOption = None
    input: InputOption = None

    def check(self, checkpoint: Path) -> None:
        """Refuse a missing checkpoint, or options that it does not take, before the work."""
        from reid_dhm.inference.checkpoint_file import find_checkpoint

        find_checkpoint(checkpoint, self.backbone, self.size, self.neck, self.input)

    def options(self, device: str) -> ModelOptions:
        """These options for :func:`~reid_dhm.evaluation.inputs.embed_dataset`."""
        from reid_dhm.evaluation.inputs import ModelOptions

        precision = self.precision or "float32"
        return ModelOptions(
            self.flip, device, precision, self.backbone, self.size, self.neck, self.input
        )


@dataclass(frozen=True)
class RankingChoice:
    """How embeddings are ranked."""

    metric: Annotated[
        Literal["cosine", "euclidean"],
        typer.Option(
            "--metric",
            rich_help_panel=PROTOCOL,
            help="euclidean takes embeddings as they are, not normalised.",
        ),
    ] = "cosine"
    camera_rule: Annotated[
        bool,
        typer.Option(
            "--camera-rule/--no-camera-rule",
            rich_help_panel=PROTOCOL,
            help="Ignore gallery images of the query's person from the query's camera.",
        ),
    ] = True
    ap: Annotated[
        Literal["standard", "trapezoid"],
        typer.Option(
            "--ap",
            rich_help_panel=PROTOCOL,
            help="Average precision; trapezoid is that of the original Market-1501 code.",
        ),
    ] = "standard"
    single_shot: Annotated[
        bool,
        typer.Option(
            "--single-shot",
            rich_help_panel=PROTOCOL,
            help="One random gallery image per person, mean of ten draws (CUHK03 classic).",
        ),
    ] = False
    multi_query: Annotated[
        Literal["mean", "max"] | None,
        typer.Option(
            "--multi-query",
            rich_help_panel=PROTOCOL,
            help="Pool the query images of one person and camera into one query.",
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            "--seed", rich_help_panel=PROTOCOL, help="Seed of intervals, draws and random examples."
        ),
    ] = 0
    rerank: Annotated[
        bool,
        typer.Option("--rerank", rich_help_panel=REFINEMENT, help="k-reciprocal re-ranking."),
    ] = False
    k1: Annotated[
        int | None,
        typer.Option(
            "--k1", rich_help_panel=REFINEMENT, show_default="20", help="Re-ranking: neighbours."
        ),
    ] = None
    k2: Annotated[
        int | None,
        typer.Option(
            "--k2",
            rich_help_panel=REFINEMENT,
            show_default="6",
            help="Re-ranking: neighbours averaged.",
        ),
    ] = None
    lambda_: Annotated[
        float | None,
        typer.Option(
            "--lambda",
            rich_help_panel=REFINEMENT,
            show_default="0.3",
            help="Re-ranking: weight of the original distance, 0 to 1.",
        ),
    ] = None
    query_expansion: Annotated[
        int,
        typer.Option(
            "--query-expansion",
            rich_help_panel=REFINEMENT,
            min=0,
            metavar="K",
            help="Average each query with its K nearest gallery images.",
        ),
    ] = 0
    database_augmentation: Annotated[
        int,
        typer.Option(
            "--database-augmentation",
            rich_help_panel=REFINEMENT,
            min=0,
            metavar="K",
            help="Average each gallery image with its K nearest neighbours.",
        ),
    ] = 0
    alpha: Annotated[
        float | None,
        typer.Option(
            "--alpha",
            rich_help_panel=REFINEMENT,
            min=0,
            show_default="3",
            help="Expansion: neighbours are weighted by similarity^alpha.",
        ),
    ] = None
    top_k: Annotated[
        int,
        typer.Option("--top-k", rich_help_panel=REPORT, min=1, help="Length of ranked lists."),
    ] = 10
    device: DeviceOption = "auto"

    def settings(self) -> Settings:
        """These options as settings.

        Raises:
            typer.BadParameter: an option that has no effect without another.
            InputError: options that exclude each other, or a value out of range.
        """
        from reid_dhm.evaluation.settings import Settings
        from reid_dhm.retrieval.protocol import Reranking

        of_reranking: dict[str, Any] = {"k1": self.k1, "k2": self.k2, "weight": self.lambda_}
        chosen = {name: value for name, value in of_reranking.items() if value is not None}
        if not self.rerank:
            refuse("without --rerank", {"--k1": self.k1, "--k2": self.k2, "--lambda": self.lambda_})
        if not (self.query_expansion or self.database_augmentation):
            refuse("without --query-expansion or --database-augmentation", {"--alpha": self.alpha})
        return Settings(
            metric=self.metric,
            camera_rule=self.camera_rule,
            ap=self.ap,
            single_shot=SINGLE_SHOT_DRAWS if self.single_shot else 0,
            multi_query=self.multi_query,
            query_expansion=self.query_expansion,
            database_augmentation=self.database_augmentation,
            alpha=3.0 if self.alpha is None else self.alpha,
            rerank=Reranking(**chosen) if self.rerank else None,
            top_k=self.top_k,
            seed=self.seed,
            device=self.device,
        )


def refuse_model_options(where: str, data: DatasetChoice, model: ModelChoice) -> None:
    """Refuse options of datasets and checkpoints; ``where`` says why they have no effect."""
    refuse(where, given(data) | given(model))


def parse_dataset_options(words: list[str]) -> dict[str, Any]:
    """``KEY=VALUE`` words as a mapping; values are YAML scalars, and text where they are not."""
    import yaml

    options: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"--dataset-option {word!r} is not KEY=VALUE")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError):  # such as a regular expression
            value = text
        options[key] = value if isinstance(value, str | bool | int | float) else text
    return options
