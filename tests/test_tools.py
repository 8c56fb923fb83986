"""The files of ``tools/`` are the installed command's subcommands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = sorted((Path(__file__).parents[1] / "tools").glob("*.py"))


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.stem)
def test_a_tool_is_the_subcommand_of_its_name(tool, monkeypatch):
    """With the same arguments; one of them is run for real below."""
    called = []
    monkeypatch.setattr("reid_dhm.cli.main", called.append)
    monkeypatch.setattr(sys, "argv", [str(tool), "--json", "a b.json"])
    exec(compile(tool.read_text(), str(tool), "exec"), {"__name__": "__main__"})
    assert called == [[tool.stem.replace("_", "-"), "--json", "a b.json"]]


def test_a_tool_runs_as_a_program(tmp_path):
    command = [sys.executable, TOOLS[0].with_name("gallery.py"), "list", "--gallery", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
