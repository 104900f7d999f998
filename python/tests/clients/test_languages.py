"""JupyterLab's launcher: each language has a tile with its logo, and the tile leads to a cell that runs."""

import pytest
import pytest_asyncio
from lab import Client, Notebook
from sight import picture, see

from ci.demo_notebooks import SCALA_VARIABLES
from ci.gateway_access import jupyter_server
from timeouts import TIMEOUT_SECONDS, eventually

CELLS = {
    "Python 3": "print(6 * 7)",
    "R": "cat(6 * 7)",
    "Scala (Spark)": "println(6 * 7)",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab(chart, gateway, browser):
    scala = {"enabled": True, "launchTimeout": TIMEOUT_SECONDS, "env": SCALA_VARIABLES}
    await chart.upgrade({"kernels": {"r": {"enabled": True}, "scala": scala}})

    async def are_listed():
        listed = await gateway.request("GET", "/api/kernelspecs")
        return {"python3", "r", "scala"} <= listed["kernelspecs"].keys()

    await eventually(are_listed)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KERNEL_LAUNCH_TIMEOUT", str(TIMEOUT_SECONDS))  # a JVM's
        with jupyter_server(gateway.url, gateway.token, program="jupyterlab") as url:
            yield Client(url, browser)


@pytest.mark.parametrize("language", CELLS)
async def test_a_tile_with_a_logo_leads_to_a_notebook(lab, language):
    async with lab.page("lab?reset") as page:
        tile = page.locator(f'.jp-LauncherCard[data-category="Notebook"][title="{language}"]')
        logo = tile.locator("img.jp-Launcher-kernelIcon")
        await logo.wait_for()
        await logo.evaluate("image => image.decode()")
        assert await logo.evaluate("image => image.naturalWidth > 0")
        await picture(page, "launcher")
        await tile.click()
        notebook = Notebook(page)
        await notebook.wait_state("Idle")
        await notebook.cell(0).locator(".cm-content").fill(CELLS[language])
        await notebook.run(0)
        await see(notebook.output(0), "42")
        await picture(page, f"language-{language.split()[0].lower()}")
        await lab.close_sessions()
