"""From evaluations to their reports."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid_dhm.cli.progress import progress_bar
from reid_dhm.cli.results import figures_of, stage_seconds
from reid_dhm.errors import InputError
from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.evaluation.inputs import Sides
from reid_dhm.evaluation.metadata import data_facts, protocol_facts, software_facts, time_facts
from reid_dhm.evaluation.run import Assessment, Measured
from reid_dhm.inference.activation import activation_maps
from reid_dhm.inference.engines.exported import ExportedModel
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel
from reid_dhm.report import Evaluation, write_comparison, write_report
from reid_dhm.report.content import ActivationMaps

logger = logging.getLogger(__name__)


def write_evaluation_report(
    folder: Path,
    sides: Sides,
    assessment: Assessment,
    measured: Measured,
    *,
    cam: bool,
    people: Sequence[int] | int | None,
    device: str,
) -> None:
    """Write the report of one model; ``cam`` and ``people`` ask for what is not always there."""
    opened = _inside(sides) if cam else None

    def activation(paths: Sequence[str]) -> list[NDArray[np.float32]]:
        assert opened is not None
        return list(activation_maps(*opened, paths, device))

    title = sides.name if sides.opened is None else f"{sides.name} on {sides.data}"
    evaluation = _evaluation(title, sides, assessment, measured, activation if opened else None)
    with progress_bar("Writing the report") as progress:
        faults = write_report(
            folder,
            evaluation,
            seed=assessment.settings.seed,
            map_people=people,
            on_progress=progress,
        )
    _warn(faults)


def _inside(sides: Sides) -> tuple[ReIDModel, ModelCard] | None:
    """The model that activation maps look into, and its card.

    Raises:
        InputError: an exported file, whose inside cannot be looked into.
    """
    if sides.opened is None:
        return None
    model, card = sides.opened
    if isinstance(model, ExportedModel):
        raise InputError(
            f"{model.path} is exported and shows no activation: give the checkpoint it was made "
            "from, or leave out --cam"
        )
    return model, card


def write_comparison_report(
    folder: Path,
    models: Sequence[tuple[Sides, Assessment]],
    differences: Mapping[tuple[str, str], Mapping[str, Estimate]],
) -> None:
    """Write the report of several models; the first is what the others are held against."""
    evaluations = [
        _evaluation(sides.name, sides, assessment, assessment.measure())
        for sides, assessment in models
    ]
    with progress_bar("Writing the report") as progress:
        faults = write_comparison(folder, evaluations, differences, on_progress=progress)
    _warn(faults)


def _evaluation(
    name: str,
    sides: Sides,
    assessment: Assessment,
    measured: Measured,
    activation: ActivationMaps | None = None,
) -> Evaluation:
    result = assessment.result
    query, gallery = assessment.query, assessment.gallery
    valid = int(result.valid.sum())
    facts = {
        "Protocol": protocol_facts(assessment.settings),
        "Data": data_facts(sides.data, query, gallery, sides.num_dropped, valid),
        "Model": sides.model,
        "Time": time_facts(stage_seconds(sides, assessment)),
        "Software": software_facts(),
        "Configuration": sides.configuration,
    }
    return Evaluation(
        name=name,
        query=query,
        gallery=gallery,
        result=result,
        intervals=assessment.intervals,
        pairs=measured.pairs,
        cameras=assessment.cameras(),
        points=measured.points,
        calibration=measured.calibration,
        facts={heading: section for heading, section in facts.items() if section},
        figures=figures_of(sides, assessment),
        reranked=assessment.reranked,
        reranked_intervals=assessment.reranked_intervals,
        activation=activation,
    )


def _warn(faults: Sequence[str]) -> None:
    if faults:
        logger.warning(
            "%d images could not be read and are missing in the report, the first: %s",
            len(faults),
            faults[0],
        )
