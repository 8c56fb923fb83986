from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from reid_dhm.benchmarks.training.pipeline import compare_pipelines, torchreid_loader, write_images
from reid_dhm.errors import InputError

CPU = torch.device("cpu")


def test_torchreid_reads_the_same_files_in_batches_of_the_same_shape(tmp_path: Path) -> None:
    samples = write_images(tmp_path, num_people=20, images_each=4)
    batches = list(torchreid_loader(samples, (32, 16), CPU, num_workers=0))
    assert batches
    known = {str(sample.path): sample.pid for sample in samples}
    for batch in batches:
        assert batch["img"].shape == (64, 3, 32, 16)
        assert batch["img"].dtype == torch.float32
        assert [known[path] for path in batch["impath"]] == batch["pid"].tolist()
        assert sorted(torch.bincount(batch["pid"]).tolist())[-16:] == [4] * 16


def test_written_images_resemble_market_1501_s_files(tmp_path: Path) -> None:
    samples = write_images(tmp_path, num_people=2, images_each=10)
    assert [sample.pid for sample in samples] == [0] * 10 + [1] * 10
    for sample in samples:
        assert Image.open(sample.path).size == (64, 128)
        assert 1500 < sample.path.stat().st_size < 4000


def test_both_pipelines_are_measured_in_one_run(tmp_path: Path) -> None:
    samples = write_images(tmp_path, num_people=40, images_each=16)
    rates = compare_pipelines(samples, (32, 16), CPU, num_workers=0, rounds=1)
    assert rates.num_images == 640
    assert rates.batch_size == 64
    assert rates.ours > 0
    assert rates.torchreid > 0
    assert rates.ratio == rates.ours / rates.torchreid


def test_a_set_too_small_to_measure_is_refused(tmp_path: Path) -> None:
    samples = write_images(tmp_path, num_people=16, images_each=4)
    with pytest.raises(InputError, match="has 1 batches"):
        compare_pipelines(samples, (32, 16), CPU, num_workers=0, rounds=1)
