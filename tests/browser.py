"""An installed Chromium, and pages in it, for the tests that look at pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.checks.integer_hash.browser import BROWSERS, installed_browser


@contextmanager
def launched(*options: str) -> Iterator:
    """A headless Chromium; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright and an installed Chromium")
    path = installed_browser()
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", *options])
        yield browser
        browser.close()


class View:
    """A page of the browser and whatever it complained of or asked the network for."""

    def __init__(self, browser, address, scheme="light", width=1280, **options):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(request.url))
        self.page.goto(address)


def violations(page, impacts=("minor", "moderate", "serious", "critical")):
    """What axe-core complains of, by rule; skips where it is missing."""
    axe = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python, which brings axe-core")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run()")
    assert len(found["passes"]) > 10
    return [rule["id"] for rule in found["violations"] if rule["impact"] in impacts]
