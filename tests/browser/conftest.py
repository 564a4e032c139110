"""Chromium, driven by Playwright: pages as people see and use them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

ARGUMENTS = (
    "--no-sandbox",  # root has none, as in containers; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
LOCAL = ("file:", "data:", "blob:", "about:")
WIDE = {"width": 1280, "height": 900}

OpenPage = Callable[..., "Page"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A Chromium for all tests here; they are skipped where it or Playwright is missing."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install '.[browser]'"
    )
    given = os.environ.get("CHROMIUM")
    path = given or next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium found: install one, or name it in CHROMIUM")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """`open_page(path, **options)` shows a file; options are those of a browser context.

    In the end the test fails where a page wrote an error or a warning to the console, raised one,
    opened a dialog, or asked for anything that is not in the page or beside it.
    """
    contexts = []
    complaints: list[str] = []

    def opened(path: Path, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: note_message(message.type, message.text))
        page.on("pageerror", lambda error: complaints.append(f"raised: {error}"))
        page.on("dialog", note_dialog)
        page.on("request", lambda request: note_request(request.url))
        page.goto(path.resolve().as_uri())
        return page

    def note_message(kind: str, text: str) -> None:
        if kind in {"error", "warning", "assert"}:
            complaints.append(f"console {kind}: {text}")

    def note_dialog(dialog: Dialog) -> None:
        complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def note_request(url: str) -> None:
        if not url.startswith(LOCAL):
            complaints.append(f"asked for {url}")

    yield opened
    for context in contexts:
        context.close()
    assert not complaints
