"""Debian's Chromium, which talks to this machine only."""

import contextlib
import os

from playwright.async_api import async_playwright

from ci import chromium as debians
from timeouts import TIMEOUT_SECONDS

# A laptop's window: what does not fit into it is not seen.
WINDOW = {"width": 1280, "height": 720}
_OPTIONS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
    # Every name but this machine's is unknown.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@contextlib.asynccontextmanager
async def chromium():
    """A browser without a window, of the installed Debian package."""
    program = debians.ensure()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program,
            args=_OPTIONS,
            chromium_sandbox=os.geteuid() != 0,  # which it cannot set up for root
        )
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def new_page(browser, window=None):
    """A page of a user whom this browser does not know."""
    context = await browser.new_context(viewport=window or WINDOW)
    context.set_default_timeout(TIMEOUT_SECONDS * 1000)
    try:
        yield await context.new_page()
    finally:
        await context.close()
