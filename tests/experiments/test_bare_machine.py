"""Training and its evaluation on a machine that has PyTorch and little else."""

import subprocess
import sys
from pathlib import Path

# What training may need beside PyTorch, and what it must do without, is told apart here.
ABSENT = "faiss torchreid supervision trackers av openvino onnxruntime nncf gdown fastapi uvicorn"

PROGRAM = """
import sys


class Absent:
    names = set({absent!r}.split())

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


import importlib.util

real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in Absent.names else real(name, *rest)
sys.meta_path.insert(0, Absent())
from reid_dhm.cli import main

main({arguments!r})
"""


def test_a_run_needs_nothing_but_the_training_libraries(people: Path, tmp_path: Path):
    arguments = [
        *("train", "market1501_mobilenetv2_cpu", f"data.root={people}", "data.name=synthetic"),
        *("model.backbone=cifar_resnet32", "model.weights=null", "model.size=[32,16]"),
        *("train.epochs=1", "train.warmup_epochs=0", "train.evaluate_every=1"),
        *("train.num_identities=4", "train.num_instances=2", f"output={tmp_path / 'run'}"),
    ]
    program = PROGRAM.format(absent=ABSENT, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "best.safetensors").is_file()
    assert "best: mAP" in done.stdout
