"""OpenVINO leaves the process as it was: nothing is reported, and signals are survived."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reid_dhm.inference.engines.exported import installed

pytestmark = pytest.mark.skipif(not installed("openvino"), reason="needs openvino")


def _printed(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_its_maker_is_not_told():
    assert (
        _printed("""
import sys
from reid_dhm.inference.engines.openvino_runtime import openvino_core

openvino_core()
print([module for module in sys.modules if module.startswith("openvino_telemetry.")])
""")
        == "[]"
    )


def test_signals_are_survived_when_networks_come_and_go():
    assert (
        _printed("""
import faulthandler, os, signal

import numpy as np

from reid_dhm.inference.engines.openvino_runtime import openvino, openvino_core

faulthandler.enable()  # gives the main thread a stack for signals
signal.signal(signal.SIGUSR1, lambda *_: None)
openvino()
import openvino.opset13 as op

def network():
    images = op.parameter([-1, 3, 8, 8], np.float32)
    weights = op.constant(np.ones((4, 3, 3, 3), np.float32))
    convolved = op.convolution(images, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    graph = openvino().Model([convolved], [images], "network")
    return openvino_core().compile_model(graph, "CPU")

first, second = network(), network()
del first
third = network()
del second, third
for _ in range(3):
    os.kill(os.getpid(), signal.SIGUSR1)
print("alive")
""")
        == "alive"
    )
