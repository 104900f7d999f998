"""A user's day in JupyterLab: what cells do, and what a user does to a kernel."""

import pytest
from kernels import FILL_MEMORY
from sight import see

BUSY = "print('begun', flush=True)\nwhile True: pass"
PLOT = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 4, 9])\nplt.show()"
QUESTION = "name = input('Your name? ')\nprint('Hello,', name)"
FUNCTION = "def double(number):\n    result = 2 * number\n    return result\nprint(double(21))"


@pytest.fixture(
    scope="module", params=["on_kubernetes", "with_package", "with_kernelspecs", "on_docker"]
)
def lab(request):
    return request.getfixturevalue(f"lab_{request.param}")


async def test_a_plot(lab):
    async with lab.notebook("plot", PLOT, kernel="plotting") as notebook:
        await notebook.run(0)
        plot = notebook.output(0).locator("img")
        await plot.wait_for()
        assert await is_shown(plot)
        await notebook.picture("plot")


async def is_shown(image):
    """Return whether an image has arrived, and is inside of the window."""
    await image.evaluate("image => image.decode()")
    box, window = await image.bounding_box(), image.page.viewport_size
    return (
        await image.evaluate("image => image.naturalWidth > 0")
        and box["x"] >= 0
        and box["y"] >= 0
        and box["x"] + box["width"] <= window["width"]
        and box["y"] + box["height"] <= window["height"]
    )


async def test_a_cell_that_asks(lab):
    async with lab.notebook("stdin", QUESTION) as notebook:
        await notebook.run(0)
        field = notebook.output(0).locator("input.jp-Stdin-input")
        await field.wait_for()
        await see(notebook.output(0), "Your name?")
        await field.fill("Ada")
        await field.press("Enter")
        await see(notebook.output(0), "Hello, Ada")
        await notebook.picture("stdin")


async def test_an_interrupt_and_a_restart(lab):
    async with lab.notebook("interrupt", "x = 1", BUSY, "print(x)") as notebook:
        await notebook.run(0)
        await notebook.run(1)
        await see(notebook.output(1), "begun")
        await notebook.menu("Kernel", "Interrupt Kernel")
        await see(notebook.output(1), "KeyboardInterrupt")
        await notebook.run(2)
        await see(notebook.output(2), "1")
        await notebook.menu("Kernel", "Restart Kernel…")
        await notebook.dialog.get_by_role("button", name="Confirm Kernel Restart").click()
        await notebook.dialog.wait_for(state="detached")
        await notebook.wait_idle()
        await notebook.run(2)
        await see(notebook.output(2), "NameError", "name 'x' is not defined")
        await notebook.picture("interrupt-and-restart")


async def test_the_debugger(lab):
    async with lab.notebook("debugger", FUNCTION) as notebook:
        await notebook.page.get_by_role("button", name="Enable Debugger").click()
        await notebook.set_breakpoint(0, line=2)
        await notebook.run(0)
        variables = notebook.page.locator(".jp-DebuggerVariables")
        await see(variables, "number 21")
        await notebook.picture("debugger")
        await notebook.page.get_by_role("button", name="Continue (F9)").click()
        await see(notebook.output(0), "42")


async def test_a_cell_that_needs_too_much_memory(lab):
    async with lab.notebook("memory", FILL_MEMORY, "40 + 2", kernel="small") as notebook:
        await notebook.run(0)
        await notebook.accept_restart()
        await see(notebook.output(0), "filling", "more memory than its limit of 200Mi")
        await notebook.picture("memory")
        await notebook.run(1)
        await see(notebook.output(1), "42")
