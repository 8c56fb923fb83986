"""The file ``thresholds.json``: the scores at which two images are taken for one person.

Evaluations write it; video search reads it, and every field is validated.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.evaluation.calibration import Calibration, OperatingPoint
from reid_dhm.files import write_text
from reid_dhm.retrieval.protocol import METRICS

if TYPE_CHECKING:
    from reid_dhm.evaluation.run import EvaluationRun

FORMAT = 1

_REMEDY = "evaluate the model again to write a new one"
_NUMBER = (int, float)
_FIELDS: dict[str, Any] = {
    "format": int,
    "metric": str,
    "model": (str, type(None)),
    "dataset": str,
    "pairs": dict,
    "operating_points": list,
    "calibration": dict,
}
_PAIRS: dict[str, Any] = {"same": int, "different": int}
_POINT: dict[str, Any] = dict.fromkeys(
    ("asked", "threshold", "false_positive_rate", "true_positive_rate"), _NUMBER
)
_CALIBRATION: dict[str, Any] = dict.fromkeys(("slope", "intercept", "prior"), _NUMBER)


@dataclass(frozen=True)
class Thresholds:
    """Thresholds and calibration of one model, from one evaluation.

    Attributes:
        metric: ``cosine`` or ``euclidean``, see :class:`.PairScores`.
        dataset: of the pairs.
        model: fingerprint of the model, or None for embeddings from a file.
        num_same, num_different: numbers of same-person and different-person pairs, 1 or more.
        operating_points: in the order of the requested rates; empty with too few pairs.
        calibration: match probability of a score.
    """

    metric: str
    dataset: str
    model: str | None
    num_same: int
    num_different: int
    operating_points: tuple[OperatingPoint, ...]
    calibration: Calibration


def write_thresholds(path: Path | str, thresholds: Thresholds) -> None:
    """Write a file for :func:`read_thresholds`; it appears whole or not at all.

    Raises:
        StorageError: if it cannot be written.
    """
    content = {
        "format": FORMAT,
        "metric": thresholds.metric,
        "model": thresholds.model,
        "dataset": thresholds.dataset,
        "pairs": {"same": thresholds.num_same, "different": thresholds.num_different},
        "operating_points": [asdict(point) for point in thresholds.operating_points],
        "calibration": asdict(thresholds.calibration),
    }
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    write_text(Path(path), text)


def write_run_thresholds(path: Path, run: EvaluationRun) -> None:
    """Write the thresholds and the calibration of an evaluation run."""
    pairs = run.pairs
    write_thresholds(
        path,
        Thresholds(
            metric=pairs.scores.metric,
            dataset=run.inputs.data,
            model=run.inputs.fingerprint,
            num_same=int(pairs.scores.same.sum()),
            num_different=int(pairs.scores.different.sum()),
            operating_points=pairs.points,
            calibration=pairs.calibration,
        ),
    )


def keep_reason(path: Path, run: EvaluationRun) -> str | None:
    """Why the thresholds in ``path`` should stay, or None if ``run`` may replace them.

    Thresholds of the same model stay if they come from another dataset or from more pairs.

    Raises:
        InputError: if ``path`` is not a readable thresholds file.
    """
    if not path.is_file():
        return None
    stored, data = read_thresholds(path), run.inputs.data
    scores = run.pairs.scores
    more = stored.num_same + stored.num_different > scores.same.sum() + scores.different.sum()
    if stored.model != run.inputs.fingerprint or not (stored.dataset != data or more):
        return None
    return f"keeps the thresholds of {stored.dataset}; delete it to have those of {data}"


def read_thresholds(path: Path | str) -> Thresholds:
    """Read a file of :func:`write_thresholds`.

    Raises:
        NotFoundError: no such file.
        InputError: another format, or a field that is missing, unknown, of another type or out
            of range; the message names the file and the field.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file: evaluate the model to write it")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}): {_REMEDY}") from error
    if isinstance(content, dict) and content.get("format", FORMAT) != FORMAT:
        raise InputError(
            f"{path}: format {content['format']!r:.40} is not supported, only {FORMAT}: {_REMEDY}"
        )
    try:
        return _thresholds(content)
    except _FaultError as fault:
        raise InputError(f"{path}: {fault}: {_REMEDY}") from None


class _FaultError(Exception):
    """The fault, as the middle of a sentence."""


def _thresholds(content: object) -> Thresholds:
    top = _fields("the file", content, _FIELDS)
    if top["metric"] not in METRICS:
        raise _FaultError(f"metric is {top['metric']!r}, not one of {', '.join(METRICS)}")
    pairs = _fields("pairs", top["pairs"], _PAIRS)
    for name, number in pairs.items():
        if number < 1:
            raise _FaultError(f"pairs: {name} is {number}, not 1 or more")
    calibration = _numbers("calibration", top["calibration"], _CALIBRATION)
    if not 0 < calibration["prior"] < 1:
        raise _FaultError(f"calibration: prior is {calibration['prior']}, not between 0 and 1")
    return Thresholds(
        metric=top["metric"],
        dataset=top["dataset"],
        model=top["model"],
        num_same=pairs["same"],
        num_different=pairs["different"],
        operating_points=tuple(
            _point(f"operating point {number}", point)
            for number, point in enumerate(top["operating_points"], start=1)
        ),
        calibration=Calibration(**calibration),
    )


def _point(place: str, content: object) -> OperatingPoint:
    point = _numbers(place, content, _POINT)
    for name in ("asked", "false_positive_rate", "true_positive_rate"):
        if not 0 <= point[name] <= 1:
            raise _FaultError(f"{place}: {name} is {point[name]}, not from 0 to 1")
    if point["false_positive_rate"] > point["asked"]:
        raise _FaultError(
            f"{place}: false_positive_rate is {point['false_positive_rate']}, more than the "
            "requested rate"
        )
    return OperatingPoint(**point)


def _numbers(place: str, content: object, kinds: Mapping[str, Any]) -> dict[str, float]:
    fields = _fields(place, content, kinds)
    for name, value in fields.items():
        if abs(value) > sys.float_info.max:
            raise _FaultError(f"{place}: {name} is beyond the range of a float")
    return {name: float(value) for name, value in fields.items()}


def _fields(place: str, content: object, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """``content``, checked to have exactly the fields and types of ``kinds``."""
    if not isinstance(content, dict):
        raise _FaultError(f"{place} is {content!r:.40} instead of named fields")
    if missing := [name for name in kinds if name not in content]:
        raise _FaultError(f"{place} has no {missing[0]}")
    if unknown := sorted(content.keys() - kinds.keys()):
        raise _FaultError(f"{place} has an unknown field {unknown[0]!r}")
    for name, kind in kinds.items():
        value = content[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _FaultError(f"{place}: {name} is {value!r:.40}, which has the wrong type")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
