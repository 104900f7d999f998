"""Gateway mode with and without gateway-provisioners-client, and kernelspecs of the gateway's kernels.

A stock Jupyter server cannot do all of it: then its user reads why, and can go on.
"""

import pytest
import pytest_asyncio
from link import cable, link
from sight import see
from ways import KERNELSPECS, PACKAGE, STOCK, Way

from ci.gateway_client import Gateway
from ci.local_gateway import TOKEN, gateway_process
from timeouts import eventually

KERNEL = "launched"
# Each takes minutes.
WAYS = [PACKAGE, *(pytest.param(way, marks=pytest.mark.release) for way in (STOCK, KERNELSPECS))]
PACKAGE_TO_INSTALL = "pip install gateway-provisioners-client"
PICTURE = """
import io, ipywidgets, matplotlib.pyplot as plt
file = io.BytesIO()
plt.figure(figsize=(2, 1)).savefig(file, format="png")
ipywidgets.Image(value=file.getvalue())
"""
UPLOAD = "import ipywidgets\nupload = ipywidgets.FileUpload()\nupload"
UPLOADED = "[file] = upload.value\nprint(file.name, bytes(file.content) == bytes(range(256)) * 40)"
ZOOMABLE = "%matplotlib widget\nimport matplotlib.pyplot as plt\nplt.plot([1, 4, 9])\nplt.show()"
LARGE = """
from IPython.display import HTML, display
display(HTML("<!--" + "x" * 12_000_000 + "--><b>all of it</b>"))
print("after it")
"""
# As many lines as the window shows.
LINES = 20
COUNT = f"""
import time
for line in range({LINES}): print('line', line, flush=True); time.sleep(0.25)
"""
ALL_LINES = [f"line {number}" for number in range(LINES)]
ONCE = "times = globals().get('times', 0) + 1\nprint('times', times)"
# A canvas on which something is drawn.
_DRAWN = """canvas => canvas.width > 0 && canvas.getContext("2d")
  .getImageData(0, 0, canvas.width, canvas.height).data.some(value => value !== 0)"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory):
    """A gateway with kernels on this machine, each behind a launcher as in a pod."""
    async with gateway_process(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def path(gateway):
    """The connections of Jupyter servers to the gateway, which tests cut."""
    async with link(gateway.url) as path:
        yield path


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=WAYS)
async def way(request, path, browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    way = Way(request.param, path.url, TOKEN, folder, browser)
    await way.install()
    return way


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab(way):
    async with way.jupyterlab() as lab:
        yield lab


async def test_widgets_with_binary_data(way, lab):
    cells = [PICTURE, "print('after the picture')", UPLOAD, UPLOADED, ZOOMABLE, "print('the end')"]
    async with lab.notebook("widgets", *cells, kernel=KERNEL) as notebook:
        await notebook.run(0)
        if way.name == STOCK:
            await see(notebook.output(0), PACKAGE_TO_INSTALL)
        else:
            await notebook.output(0).locator("img.widget-image").wait_for()
        await notebook.run(1)
        await see(notebook.output(1), "after the picture")

        await notebook.run(2)
        await upload(notebook.output(2).locator("button.widget-upload"))
        await notebook.run(3)
        await see(notebook.output(3), "a.bin True")

        await notebook.run(4)
        if (
            way.name != STOCK
        ):  # there it stays empty: it is drawn by messages that belong to no cell
            canvas = notebook.output(4).locator("canvas").first
            await canvas.wait_for()
            await eventually(lambda: canvas.evaluate(_DRAWN))
        await notebook.run(5)
        await see(notebook.output(5), "the end")
        await notebook.picture("widgets")


async def upload(button):
    """Upload a file, as a user does who clicks on the button and chooses it."""
    async with button.page.expect_file_chooser() as chooser:
        await button.click()
    content = bytes(range(256)) * 40
    file = {"name": "a.bin", "mimeType": "application/octet-stream", "buffer": content}
    await (await chooser.value).set_files(file)
    await button.get_by_text("(1)").wait_for()


async def test_an_output_of_12_megabytes(way, lab):
    async with lab.notebook("large", LARGE, "print('the end')", kernel=KERNEL) as notebook:
        await notebook.run(0)
        await see(notebook.output(0), "takes at most" if way.name == STOCK else "all of it")
        await see(notebook.output(0), "after it")
        await notebook.run(1)
        await see(notebook.output(1), "the end")
        await notebook.picture("large")


async def test_a_short_loss_of_the_connection(way, lab, path):
    async with lab.notebook("loss", COUNT, ONCE, kernel=KERNEL) as notebook:
        await notebook.run(0)
        await see(notebook.output(0), "line 1")
        path.cut()
        if way.name != STOCK:
            await see(notebook.output(0), "reconnecting")
            await notebook.run(1)  # kept until there is a connection
        path.mend()
        if way.name == STOCK:  # which may lose what was under way
            await see(notebook.output(0), ALL_LINES[-1])
            await notebook.run(1)
        else:
            await see_lines(notebook)
        await see(notebook.output(1), "times 1")
        await notebook.picture("loss")


async def see_lines(notebook):
    """Wait for every line of COUNT, each of them once and in order, whatever is between them."""
    await see(notebook.output(0), *ALL_LINES)
    text = await notebook.output(0).inner_text()
    assert [line for line in text.splitlines() if line.startswith("line ")] == ALL_LINES


@pytest.mark.release
async def test_a_network_that_is_gone_for_100_seconds(way, gateway):
    """As a laptop sleeps: nothing is refused or reset, bytes are lost."""
    async with (
        cable(gateway.url) as wire,
        way.through(wire.url) as lab,
        lab.notebook("sleep", COUNT, ONCE, kernel=KERNEL) as notebook,
    ):
        await notebook.run(0)
        await see(notebook.output(0), "line 1")
        wire.unplug()
        await notebook.page.wait_for_timeout(100_000)  # as long as the issue has it
        wire.plug()
        await see_lines(notebook)
        await notebook.run(1)
        await see(notebook.output(1), "times 1")
        await notebook.picture("sleep")


async def test_a_second_server_attaches_to_a_running_kernel(way, lab):
    async with (
        lab.notebook("first", "x = 42", kernel=KERNEL) as first,
        way.jupyterlab() as second,
        Gateway(second.url, "") as server,
    ):
        await first.run(0)
        await first.wait_idle()
        [kernel_id] = await way.gateway_kernels()
        async with second.opened_with(await attach(way, server, kernel_id), "print(x)") as again:
            await again.wait_idle()
            await again.run(0)
            await see(again.output(0), "42")
            await again.picture("attached")


async def attach(way, server, kernel_id):
    """Have a Jupyter server use a kernel of the gateway; return the kernel's id there."""
    if way.name == STOCK:
        await server.request("POST", "/api/kernels", {"kernel_id": kernel_id})
    if way.name != KERNELSPECS:
        assert kernel_id in await server.kernels()
        return kernel_id
    [listed] = await server.request("GET", "/gateway-provisioners/running")
    assert listed["remote_id"] == kernel_id
    answer = await server.request("POST", f"/gateway-provisioners/running/{kernel_id}/attach", {})
    return answer["id"]
