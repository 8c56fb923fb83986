"""Compares the embedder with OpenVINO's own ``AsyncInferQueue`` on the same graph.

The queue is given images that are decoded and resized already; the embedder resizes them itself.
Both alternate in one process, so that other load affects both.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Any

import numpy as np

from reid_dhm.benchmarks.harness import seconds
from reid_dhm.data.images import resize_image
from reid_dhm.devices import cpu_threads
from reid_dhm.errors import InputError
from reid_dhm.inference.checkpoint_file import find_checkpoint
from reid_dhm.inference.checkpoints import open_checkpoint
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.agreement import cosines
from reid_dhm.inference.engines.exported import INPUT, ExportedModel
from reid_dhm.inference.engines.openvino_runtime import openvino, openvino_core, read_graph

_BATCHES = (1, 8)  # images per request of the queue; the faster one counts
_TRIAL = 64  # images of a warm-up


@dataclass(frozen=True)
class QueueRates:
    """Images per second, one value per round.

    Attributes:
        ours: the embedder, from decoded images of their own sizes to unit rows.
        queue: ``AsyncInferQueue`` on images of the graph's size.
        batch: images per request of the queue.
        cosine: lowest cosine between the embeddings of both.
    """

    ours: tuple[float, ...]
    queue: tuple[float, ...]
    batch: int
    cosine: float

    @property
    def ratio(self) -> float:
        """Median over the rounds of ours over the queue's."""
        return statistics.median(a / b for a, b in zip(self.ours, self.queue, strict=True))


def compare_with_queue(
    checkpoint: str, images: Sequence[np.ndarray], rounds: int = 5, turn_seconds: float = 3.0
) -> QueueRates:
    """Measure a graph both ways, in float32.

    Args:
        checkpoint: an ``.onnx`` or ``.xml``, or a name of the model zoo that stands for one.
        images: decoded images, (H, W, 3) uint8 RGB of any size; reused as often as needed.
        rounds: turns of each.
        turn_seconds: approximate length of a turn.

    Raises:
        InputError: a checkpoint that is no graph.
    """
    file = find_checkpoint(checkpoint)
    model, card = open_checkpoint(file)
    if not isinstance(model, ExportedModel):
        raise InputError(f"{checkpoint} is no graph: give an .onnx or .xml")
    embedder = Embedder((model, card), "openvino", "cpu", precision="float32")
    graph = read_graph(model.adapt() if model.adapt is not None else model.path)
    resized = np.stack([resize_image(image, card.size) for image in images])
    queues = {batch: _queue(graph, resized, batch) for batch in _BATCHES}

    def ours(count: int) -> None:
        for _ in embedder.stream(islice(cycle(images), count)):
            pass

    ours(_TRIAL)
    spent = {batch: _per_image(run, turn_seconds / 4) for batch, run in queues.items()}
    batch = min(spent, key=lambda batch: spent[batch])
    expected = queues[batch](len(images))
    cosine = float(cosines(embedder(list(images)), expected).min())
    count = max(_TRIAL, round(turn_seconds / spent[batch] / 16) * 16)
    rates: dict[str, list[float]] = {"ours": [], "queue": []}
    turns: dict[str, Callable[[int], object]] = {"ours": ours, "queue": queues[batch]}
    for number in range(rounds):
        for name in sorted(turns, reverse=bool(number % 2)):
            rates[name].append(count / seconds(partial(turns[name], count)))
    return QueueRates(tuple(rates["ours"]), tuple(rates["queue"]), batch, cosine)


def _per_image(run: Callable[[int], object], turn_seconds: float) -> float:
    """Seconds per image, after a warm-up."""
    run(_TRIAL)
    count = max(_TRIAL, int(_TRIAL * turn_seconds / seconds(partial(run, _TRIAL))))
    return seconds(partial(run, count)) / count


def _queue(graph: Any, images: np.ndarray, batch: int) -> Callable[[int], np.ndarray]:
    """Embeds ``count`` images, (count, D), with as many requests as OpenVINO suggests."""
    ov = openvino()
    config = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32",
              "INFERENCE_NUM_THREADS": cpu_threads()}  # fmt: skip
    compiled = openvino_core().compile_model(graph, "CPU", config)
    starts = range(0, len(images) - batch + 1, batch)
    ready = [np.ascontiguousarray(images[start : start + batch]) for start in starts]

    def run(count: int) -> np.ndarray:
        found: list[np.ndarray] = [np.empty(0)] * -(-count // batch)

        def keep(request: Any, number: int) -> None:
            found[number] = request.get_output_tensor(0).data.copy()

        queue = ov.AsyncInferQueue(compiled, 0)
        queue.set_callback(keep)
        for number, images in enumerate(islice(cycle(ready), len(found))):
            queue.start_async({INPUT: images}, number)
        queue.wait_all()
        return np.concatenate(found)[:count]

    return run
