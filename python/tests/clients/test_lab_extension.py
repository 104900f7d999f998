"""The extension of JupyterLab as its user sees it, in gateway mode and with gateway kernelspecs.

The kernels are processes of this machine.
"""

import asyncio
from importlib.metadata import EntryPoint

import pytest
import pytest_asyncio
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from lab import Client, Notebook
from sight import picture, see
from ways import KERNELSPECS, PACKAGE, environment, install_kernelspecs

from api.conftest import kernel_json, put_kernelspec
from api.provisioners import FailingAs, Measured, Pulling, Slow
from api.running import TOKEN, running_gateway
from ci import labextension
from ci.gateway_access import LAB_EXTENSION, jupyter_server
from ci.local_gateway_program import Launched
from gateway_provisioners.errors import LaunchFailed
from gateway_provisioners.handshake.payload import GatewayKey
from gateway_provisioners.handshake.response_server import ResponseServer
from timeouts import eventually

# The second takes minutes.
WAYS = [PACKAGE, pytest.param(KERNELSPECS, marks=pytest.mark.release)]
PROVISIONERS = {"measured": Measured, "pulling": Pulling, "failing": FailingAs}
MARKUP = "<b>bold</b><img src=nowhere onerror=\"document.title = 'attacked'\">"
TOAST = ".Toastify__toast"
FAILURES = "#gateway-provisioners-failures"
USAGE = ".gp-Usage"
KERNEL = ".gp-RunningKernel"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory):
    """A gateway in this process, whose kernels do as these tests say."""
    folder = tmp_path_factory.mktemp("gateway")
    response_server = ResponseServer("127.0.0.1", 0, 0, GatewayKey.generate())
    await response_server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            (folder / name).mkdir()
            patch.setenv(name, str(folder / name))
        patch.setenv("TMPDIR", str(folder))  # kernels that are killed leave their sockets
        patch.setattr(Launched, "server", response_server, raising=False)
        for name, provisioner in PROVISIONERS.items():
            place = f"{provisioner.__module__}:{provisioner.__qualname__}"
            entry_point = EntryPoint(name, place, KernelProvisionerFactory.GROUP_NAME)
            patch.setitem(KernelProvisionerFactory.provisioners, name, entry_point)
            spec = kernel_json(name, display_name=name)
            put_kernelspec(folder / "JUPYTER_DATA_DIR/kernels", name, spec)
        async with running_gateway(default_kernel_name="measured") as running:
            yield running
    await response_server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=WAYS)
async def lab(request, gateway, browser, tmp_path_factory):
    """A JupyterLab with the extension."""
    folder = tmp_path_factory.mktemp(request.param)
    extensions = folder / "share/jupyter/labextensions"
    extensions.mkdir(parents=True)
    (extensions / LAB_EXTENSION).symlink_to(labextension.ensure())
    kernels, url = {}, gateway.url
    if request.param == KERNELSPECS:
        kernels, url = await install_kernelspecs(gateway.url, TOKEN, folder), ""
    variables = {**environment(folder), "JUPYTER_DATA_DIR": str(folder / "data")}
    server = jupyter_server(url, TOKEN, program="jupyterlab", extended=True, environment=variables)
    # The gateway answers in this loop.
    lab_url = await asyncio.to_thread(server.__enter__)
    try:
        client = Client(lab_url, browser, suffix=f"-{request.param}", kernels=kernels)
        client.is_in_gateway_mode = bool(url)
        yield client
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


@pytest.fixture
def pulling(monkeypatch):
    """The kernel `pulling`, which starts when `go_on` is set."""
    for name in ("launching", "go_on"):
        monkeypatch.setattr(Slow, name, asyncio.Event(), raising=False)
    yield Slow
    Slow.go_on.set()


async def test_a_toast_shows_the_steps_of_a_start(lab, pulling):
    async with lab.opened("toast", "1 + 1", kernel="pulling") as notebook:
        page = notebook.page
        await see_toast(page, ": The node is pulling the image 'acme/x:1'.")
        await notebook.picture("extension-toast")
        pulling.go_on.set()
        await notebook.wait_idle()
        await page.locator(TOAST).wait_for(state="detached")


async def see_toast(page, words):
    """Wait until a toast with these words is in the window, and nothing covers it."""
    # It is another element at each step.
    await page.locator(TOAST).get_by_text(words).click(trial=True)


@pytest.mark.attack(22)
async def test_a_panel_shows_why_a_start_failed(lab):
    failure = LaunchFailed("ContainerExited", f"The kernel's container exited. {MARKUP}")
    failure.log = f"Traceback (most recent call last):\nModuleNotFoundError: {MARKUP}"
    FailingAs.error, FailingAs.attempts = failure, 0
    async with lab.opened("failure", "1 + 1", kernel="failing") as notebook:
        page = notebook.page
        panel = page.locator(FAILURES)
        await panel.wait_for()
        if lab.is_in_gateway_mode:
            # JupyterLab's own dialog covers everything.
            await notebook.failure.wait_for()
            await page.keyboard.press("Escape")
            await notebook.dialog.get_by_role("button", name="No Kernel").click()
            await notebook.dialog.wait_for(state="detached")
        await see(panel, "did not start", "The kernel's container exited.", "<b>bold</b>")
        await see_toast(page, "did not start. The kernel's container exited.")
        await notebook.picture("extension-failure")
        await page.locator(TOAST).get_by_role("button", name="Details").click()
        log = panel.locator("pre").first
        assert (await log.inner_text()).endswith(f"ModuleNotFoundError: {MARKUP}")
        assert await panel.locator("b, img").count() == 0
        link = panel.locator("a").first
        assert (await link.get_attribute("href")).endswith("troubleshooting.md#containerexited")
        assert await link.get_attribute("rel") == "noopener noreferrer"
        assert await page.title() != "attacked"


async def test_the_status_bar_shows_what_a_kernel_uses(lab):
    async with lab.notebook("usage", "1 + 1", kernel="measured") as notebook:
        usage = notebook.page.locator(USAGE)
        await see(usage, "Kernel memory:", "CPU:")
        assert "Image: acme/kernel:1\nNode: node-1" in await usage.get_attribute("title")
        await notebook.picture("extension-usage")


@pytest.mark.parametrize("place", ["New Notebook", "Console"])
async def test_a_kernel_of_the_gateway_is_attached_and_shut_down(lab, gateway, place):
    """As after a restart of the Jupyter server, which knew it."""
    kernel_id = await gateway.client.start("measured")
    async with gateway.client.channels(kernel_id) as channels:
        await channels.execute("x = 6 * 7")
    async with lab.page("lab?reset") as page:
        await page.get_by_title("Running Terminals and Kernels").first.click()
        listed = page.locator("#jp-running-sessions")
        await see(listed, "measured idle")
        await page.locator(KERNEL).get_by_text("measured").click()
        await page.get_by_role("button", name=place).click()
        await use(page, place)
        await see(listed, "measured idle, here")
        await picture(page, f"extension-attached-{place.split()[-1].lower()}")
        await page.locator(KERNEL).hover()
        await page.locator(KERNEL).get_by_title("Shut Down Kernel").click()

        async def has_ended():
            return not await gateway.client.kernels()

        await eventually(has_ended)
        await page.locator(KERNEL).wait_for(state="detached")
    await lab.close_sessions()


async def use(page, place):
    """See that the kernel has its variables."""
    notebook = Notebook(page)
    await notebook.wait_idle()
    if place == "Console":
        prompt = page.locator(".jp-CodeConsole-promptCell .cm-content")
        await prompt.click()
        await page.keyboard.type("print(x)")
        await page.keyboard.press("Shift+Enter")
        await see(page.locator(".jp-CodeConsole-content"), "42")
    else:
        await notebook.cell(0).locator(".cm-content").fill("print(x)")
        await notebook.run(0)
        await see(notebook.output(0), "42")
