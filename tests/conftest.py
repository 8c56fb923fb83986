"""What tests of several packages share."""

from __future__ import annotations

import os
import shutil

import pytest


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
