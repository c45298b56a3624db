"""Headless Chromium, driven by playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, sync_playwright

_CANDIDATES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def browser_page(*, width: int, height: int) -> Iterator[Page]:
    """Open a page of `width` by `height` pixels.

    The test is skipped where there is no Chromium, but for CI, where it fails.
    """
    executable = next(filter(None, map(shutil.which, _CANDIDATES)), None)
    if executable is None:
        reason = f"no Chromium: none of {', '.join(_CANDIDATES)} is on the PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, headless=True, args=_ARGUMENTS
        )
        try:
            page = browser.new_page(
                viewport={"width": width, "height": height}, reduced_motion="reduce"
            )
            yield page
        finally:
            browser.close()
