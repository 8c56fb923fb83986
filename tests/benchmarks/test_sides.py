"""What retrieval benchmarks are measured on, and with."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from reid_dhm.benchmarks.harness import synthetic_sets


def test_synthetic_sets_have_the_asked_size_and_distractors_beyond_market_1501():
    query, gallery = synthetic_sets(7, 13_200, 4)
    assert query.embeddings.shape == (7, 4)
    assert gallery.embeddings.shape == (13_200, 4)
    assert np.count_nonzero(gallery.pids == 0) == 13_200 - 13_115


def test_the_peak_is_seen_after_it_has_passed():
    # In a fresh process: memory that an old one has freed and kept would not count.
    watched = """
import numpy as np
from reid_dhm.benchmarks.harness import peak

with peak() as above:
    held = np.ones(2**26, dtype=np.uint8)
    for _ in range(20):
        held += 1
    del held
print(above())
"""
    done = subprocess.run(
        [sys.executable, "-c", watched], capture_output=True, text=True, check=True
    )
    assert 2**26 <= int(done.stdout) < 2**28
