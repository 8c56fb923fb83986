import io

import pytest
from rich.console import Console

from reid_dhm.cli.output import progress
from reid_dhm.cli.output.progress import progress_bars


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    """What a terminal of 100 columns is sent."""
    sent = io.StringIO()
    screen = Console(file=sent, force_terminal=True, force_interactive=True, width=100)
    monkeypatch.setattr(progress, "Console", lambda stderr: screen)
    return sent


def drawn(display, terminal: io.StringIO) -> str:
    terminal.seek(0)
    terminal.truncate()
    display.refresh()
    return terminal.getvalue()


def test_bars_share_a_display_and_disappear_when_they_are_done(terminal):
    with progress_bars("Reading", "Training") as (read, trained):
        display = read.args[0]
        assert "Reading" not in drawn(display, terminal)
        read(1, 4)
        assert "Reading" in drawn(display, terminal)
        read(4, 4)
        trained(3, 9)
        now = drawn(display, terminal)
        assert "Reading" not in now
        assert "Training" in now
        assert "3/9" in now


def test_nothing_is_drawn_for_processes_that_are_not_shown(terminal):
    with progress_bars("Reading", shown=False) as (read,):
        read(1, 4)
    assert terminal.getvalue() == ""
