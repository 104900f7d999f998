"""JupyterLab and Notebook as their users handle them: by what they see and click."""

import contextlib

import nbformat
from browser import new_page
from sight import picture

from ci.gateway_client import Gateway


class Notebook:
    """A notebook that is open in a page."""

    def __init__(self, page, suffix=""):
        self.page = page
        self._suffix = suffix
        self.dialog = page.locator(".jp-Dialog")
        self.failure = page.locator(".jp-Dialog-content").filter(
            has=page.get_by_text("Error Starting Kernel")
        )

    def cell(self, number):
        return self.page.locator(".jp-CodeCell").nth(number)

    def output(self, number):
        return self.cell(number).locator(".jp-Cell-outputArea")

    async def wait_idle(self):
        await self.wait_state("Idle")

    async def wait_state(self, state):
        # In the status bar: the notebook's own indicator is idle before there is a kernel.
        await self.page.locator("#jp-main-statusbar").get_by_text(f"| {state}").wait_for()

    async def run(self, number):
        """Run a cell, as a user does who clicks into it."""
        await self.cell(number).locator(".cm-content").click()
        await self.page.keyboard.press("Shift+Enter")

    async def menu(self, menu, item):
        await self.page.get_by_role("menuitem", name=menu, exact=True).click()
        await self.page.get_by_role("menuitem", name=item).first.click()

    async def accept_restart(self):
        """Close JupyterLab's notice that a kernel has died, which covers the page."""
        await self.dialog.get_by_text("Kernel Restarting").wait_for()
        await self.dialog.get_by_role("button", name="Ok").click()
        await self.dialog.wait_for(state="detached")

    async def set_breakpoint(self, number, *, line):
        gutter = self.cell(number).locator(".cm-breakpoint-gutter .cm-gutterElement").nth(line)
        await gutter.click()
        # JupyterLab asks the kernel first: a cell that runs earlier does not stop.
        await gutter.locator(".cm-breakpoint-icon").wait_for()

    async def picture(self, name):
        await picture(self.page, f"{name}{self._suffix}")


class Client:
    """A stock Jupyter server with pages, and a browser.

    Args:
        suffix: ends the names of its pictures.
        kernels: its names for kernels of the gateway, where they differ.
    """

    def __init__(self, url, browser, suffix="", kernels=None):
        self.url = url
        self._kernels = kernels or {}
        self._browser = browser
        self._suffix = suffix

    @contextlib.asynccontextmanager
    async def page(self, path):
        async with new_page(self._browser) as page:
            await page.goto(f"{self.url}/{path}")
            try:
                yield page
            except BaseException:
                await picture(page, f"failed-{path.replace('/', '-')}{self._suffix}")
                raise

    @contextlib.asynccontextmanager
    async def notebook(self, name, *cells, kernel="python3"):
        """A notebook whose kernel has started: earlier, JupyterLab drops the cells that a user runs."""
        async with self.opened(name, *cells, kernel=kernel) as notebook:
            await notebook.wait_idle()
            yield notebook

    @contextlib.asynccontextmanager
    async def opened(
        self, name, *cells, kernel="python3", page="lab/workspaces/{0}/tree/{0}.ipynb"
    ):
        """A notebook of these cells, open in a new page; its kernel is shut down at the end."""
        kernel = self._kernels.get(kernel, kernel)
        async with Gateway(self.url, "") as server:
            await _write(server, name, cells, kernel)
            try:
                async with self.page(page.format(name)) as opened:
                    yield Notebook(opened, self._suffix)
            finally:
                await self.close_sessions()

    @contextlib.asynccontextmanager
    async def opened_with(self, kernel_id, *cells):
        """A notebook of these cells on a kernel that the server has, open in a new page."""
        async with Gateway(self.url, "") as server:
            await _write(server, kernel_id, cells, "")
            kernel = {"id": kernel_id}
            session = {
                "path": f"{kernel_id}.ipynb",
                "type": "notebook",
                "name": "",
                "kernel": kernel,
            }
            await server.request("POST", "/api/sessions", session)
        async with self.page(f"lab/tree/{kernel_id}.ipynb") as opened:
            yield Notebook(opened, self._suffix)

    async def close_sessions(self):
        """Shut down the kernels of all notebooks."""
        async with Gateway(self.url, "") as server:
            for session in await server.request("GET", "/api/sessions"):
                await server.request("DELETE", f"/api/sessions/{session['id']}")


async def _write(server, name, cells, kernel):
    """Write a notebook to the folder of a Jupyter server."""
    content = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": kernel, "display_name": kernel}} if kernel else {},
    )
    body = {"type": "notebook", "format": "json", "content": content}
    await server.request("PUT", f"/api/contents/{name}.ipynb", body)
