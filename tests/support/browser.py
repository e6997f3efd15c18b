"""A person at the Control UI: headless Chromium opens it, writes a message, reads a reply."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ARTIFACTS = Path(__file__).parents[2] / ".artifacts"
"""What a test run leaves for a person to look at; not part of the repository."""

COMPOSER = 'textarea[aria-label="Chat composer"]'
"""Where a message is written. It is on the page only once the gateway has let the browser in:
with a wrong token, or from a foreign origin, there is a form that asks for the token."""

POLL_SECONDS = 1.0


@contextlib.contextmanager
def chromium(timeout: float) -> Iterator[Chrome]:
    """A headless browser with an empty profile; no page and no script may take over `timeout` s."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromium-driver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = program
    words = ["--headless=new", "--window-size=1200,800", "--disable-dev-shm-usage"]
    words.append("--force-prefers-reduced-motion")  # animations take whole processors here
    if os.geteuid() == 0:
        words.append("--no-sandbox")  # root has no other way; it opens the test's own pages only
    for word in words:
        options.add_argument(word)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.set_page_load_timeout(timeout)
        browser.set_script_timeout(timeout)
        yield browser
    finally:
        browser.quit()


def talk(url: str, message: str, reply: str, picture: str, timeout: float) -> None:
    """Open the Control UI at `url`, send `message` and wait until `reply` is on the page.

    Raises AssertionError with the page's text where the gateway does not let the browser in, or
    `timeout` seconds are over. What was seen last is kept as `picture` in .artifacts.
    """
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    with chromium(timeout) as browser, _pictured(browser, picture):
        browser.get(url)
        _wait(browser, timeout, "the gateway lets the browser in", lambda: _let_in(browser))
        composer = browser.find_element(By.CSS_SELECTOR, COMPOSER)
        composer.send_keys(message)
        composer.send_keys(Keys.ENTER)
        _wait(browser, timeout, f"the reply {reply!r} comes", lambda: reply in text(browser))


def text(browser: Chrome) -> str:
    """All text that a person can see on the page."""
    return str(browser.execute_script("return document.body.innerText"))


def _let_in(browser: Chrome) -> bool:
    from selenium.webdriver.common.by import By

    found = browser.find_elements(By.CSS_SELECTOR, COMPOSER)
    return bool(found) and found[0].is_displayed() and found[0].is_enabled()


def _wait(browser: Chrome, seconds: float, what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"in vain: {what}; the page says: {text(browser)}"
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def _pictured(browser: Chrome, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        ARTIFACTS.mkdir(exist_ok=True)
        browser.save_screenshot(str(ARTIFACTS / name))
