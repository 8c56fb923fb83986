"""What tests of several packages share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from reid_dhm.retrieval.embeddings import EmbeddingSet

os.environ["REID_DHM_GRAPH_CACHE"] = "off"  # tests neither read nor fill the user\'s cache


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright; tests that need it are skipped where either is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]
    with playwright.sync_playwright() as started:
        # Chromium's profile must not land in a home folder that cannot be written to.
        opened = started.chromium.launch(executable_path=chromium, args=flags, env=dict(os.environ))
        yield opened
        opened.close()


def _random_sets(
    rng: np.random.Generator,
    num_query: int,
    num_gallery: int,
    dim: int,
    people: int,
    cameras: int,
    values: Sequence[float] | None = None,
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Queries of people 1 …, a gallery with distractors too; entries drawn from ``values``."""

    def some(number: int, first_pid: int) -> EmbeddingSet:
        shape = (number, dim)
        embeddings = rng.standard_normal(shape) if values is None else rng.choice(values, shape)
        return EmbeddingSet(
            embeddings.astype(np.float32),
            rng.integers(first_pid, people + 1, number),
            rng.integers(0, cameras, number),
        )

    return some(num_query, 1), some(num_gallery, 0)


@pytest.fixture(scope="session")
def random_sets() -> Callable[..., tuple[EmbeddingSet, EmbeddingSet]]:
    return _random_sets
