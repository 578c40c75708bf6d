"""A headless Chromium at the dashboard of a running lab."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from running_lab import CHECKOUT, Lab

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SCREENSHOTS = CHECKOUT / ".lab" / "screenshots"
WITHIN_MS = 120_000
# Every process of Chromium's sandbox needs a user namespace, which root in a container has not.
ARGUMENTS = ["--no-sandbox", "--enable-precise-memory-info"]


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser, or a skip that says in a line what is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser tests")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (apt install chromium): the dashboard's page is not tested")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Page:
    """A page at the dashboard; `wrong` is what its console called an error."""

    browser: Any
    address: str
    token: str = field(repr=False)
    wrong: list[str] = field(default_factory=list)
    page: Any = None

    def open(self, *, log_in: bool = True, width: int = 1366, scheme: str = "light") -> Page:
        height = 844 if width < 600 else 900
        context = self.browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page = context.new_page()
        self.page.set_default_timeout(WITHIN_MS)
        self.page.on("console", lambda one: one.type == "error" and self.wrong.append(one.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.goto(f"{self.address}/#token={self.token}" if log_in else self.address)
        self.page.wait_for_selector(".view")
        # For scripts of tests: what the page knows.
        self.page.evaluate("async () => { window.known = (await import('/static/js/store.js')).store }")
        return self

    def go(self, where: str) -> None:
        self.page.goto(f"{self.address}/#/{where}")
        self.page.wait_for_selector("main h1")

    def switch(self, label: str, on: bool) -> None:
        """Presses a switch unless it is so already, and waits until the lab says that it is."""
        control = self.page.get_by_role("switch", name=label)
        if control.get_attribute("aria-checked") != str(on).lower():
            control.click()
        self.page.wait_for_function(
            "([control, on]) => control.getAttribute('aria-checked') === on",
            arg=[control.element_handle(), str(on).lower()],
        )

    def until(self, script: str, argument: Any = None) -> Any:
        """Waits until a script of the page gives something, and returns that."""
        return self.page.wait_for_function(script, arg=argument).json_value()

    def close(self) -> None:
        self.page.context.close()


def page_of(lab: Lab, browser: Any) -> Page:
    token = (lab.folder / ".lab" / "secrets" / "dashboard" / "session-token").read_text().strip()
    return Page(browser, lab.endpoint("dashboard"), token)


def dashboard_pid(lab: Lab) -> int:
    return json.loads((lab.folder / ".lab" / "state.json").read_text())["processes"]["dashboard"]["pid"]
