"""nbclient, nbconvert and papermill with a gateway's kernels, without kernelspecs: processes of their own."""

import contextlib
import sys
from pathlib import Path

import nbformat
import pytest
from gateway_provisioners_client.errors import ClientError, ConfigurationError
from gateway_provisioners_client.notebooks import GatewayKernelManager
from traitlets.config import Config

from api.provisioners import FailingAs
from api.running import TOKEN, running_gateway
from ci.gateway_access import jupyter_server
from ci.gateway_client import Gateway
from gateway_provisioners.errors import LaunchFailed
from notebook_client import execute_notebook, output_of, with_gateway, write_notebook

CLASS = "gateway_provisioners_client.notebooks.GatewayKernelManager"
PRINT_SIZE = "import os; print('memory:', os.environ['KERNEL_MEMORY'])"


def script(name):
    return str(Path(sys.executable).parent / name)


@pytest.fixture
def notebook(tmp_path):
    return tmp_path / "in.ipynb"


async def run(gateway, folder, *arguments, **environment):
    where = {"url": gateway.client.url, "token": gateway.client.token}
    return await with_gateway(folder, *arguments, **where, **environment)


async def test_nbclient_executes_on_the_kernel_and_ends_it(gateway, notebook):
    write_notebook(notebook, "x = 6", "print(x * 7)")
    await execute_notebook(notebook, gateway.client.url, gateway.client.token, "local")
    assert output_of(notebook) == "42\n"
    [cell, _] = nbformat.read(notebook, as_version=4).cells
    assert cell.outputs == []  # no line about the start
    await gateway.without_kernels()


async def test_nbclient_raises_the_error_of_a_cell(gateway, notebook):
    write_notebook(notebook, "print('before')", "1 / 0")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        await execute_notebook(notebook, gateway.client.url, gateway.client.token, "local")
    assert output_of(notebook) == "before\n"
    await gateway.without_kernels()


async def test_nbclient_raises_the_cause_of_a_failed_start(add_provisioner, notebook):
    add_provisioner("failing_as", FailingAs)
    FailingAs.attempts = 0
    FailingAs.error = LaunchFailed("Evicted", "The node is full.")
    write_notebook(notebook, "1")
    async with running_gateway() as gateway:
        with pytest.raises(AssertionError, match=r"The node is full\."):
            await execute_notebook(notebook, gateway.client.url, gateway.client.token, "failing_as")
    assert FailingAs.attempts == 1


async def test_nbconvert_takes_the_kernel_manager_by_its_name(gateway, notebook):
    write_notebook(notebook, "print(6 * 7)", kernel="local")
    await run(
        *(gateway, notebook.parent, script("jupyter-nbconvert"), "--execute", "--to=notebook"),
        *("--inplace", f"--ExecutePreprocessor.kernel_manager_class={CLASS}", notebook.name),
    )
    assert output_of(notebook) == "42\n"


async def test_the_engine_of_papermill(gateway, notebook):
    write_notebook(notebook, PRINT_SIZE, "print(x * 7)", kernel="elsewhere")
    arguments = (notebook.name, "out.ipynb", "--engine=gateway", "--kernel=local", "-p", "x", "6")
    await run(gateway, notebook.parent, script("papermill"), *arguments, KERNEL_MEMORY="2Gi")
    assert output_of(notebook.parent / "out.ipynb") == "memory: 2Gi\n42\n"
    await gateway.without_kernels()


async def test_a_plain_jupyter_server_in_the_place_of_the_gateway(notebook):
    write_notebook(notebook, "x = 6", "print(x * 7)")
    with jupyter_server() as url:
        await execute_notebook(notebook, url)
        async with Gateway(url, "") as server:
            assert await server.kernels() == {}
    assert output_of(notebook) == "42\n"


async def test_papermill_names_the_kernels_of_the_gateway(gateway, notebook):
    write_notebook(notebook, "1", kernel="elsewhere")
    with pytest.raises(AssertionError) as failure:
        await run(
            *(gateway, notebook.parent, script("papermill")),
            *(notebook.name, "out.ipynb", "--engine=gateway"),
        )
    words = "The gateway has no kernel that is called 'elsewhere'. Its kernels: local"
    assert words in str(failure.value)


@contextlib.asynccontextmanager
async def started(manager, folder):
    """Start a kernel and yield a client of it, once the kernel is up."""
    await manager.start_kernel(cwd=folder)
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=0)  # without a limit, whatever its caller says
        yield client
    finally:
        client.stop_channels()
        await manager.shutdown_kernel()


async def test_two_kernels_of_two_gateways_in_one_process(gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("A_TOKEN", TOKEN)
    async with (
        running_gateway() as other,
        started(manager_of(gateway.client.url), tmp_path) as one,
        started(manager_of(other.client.url), tmp_path) as two,
    ):
        for client in (one, two):
            reply = await client.execute_interactive("x = 1", store_history=False)
            assert reply["content"]["status"] == "ok"
        for each in (gateway, other):
            assert len(await each.client.kernels()) == 1
    await gateway.without_kernels()


def manager_of(url, *options):
    """Return a manager that is configured, as by a file or an option of a program."""
    arguments = ["--url", url, "--token-variable", "A_TOKEN", *options]
    return GatewayKernelManager(config=Config(GatewayKernelManager={"gateway_options": arguments}))


async def test_without_a_name_it_is_the_default_kernel(gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_GATEWAY_URL", gateway.client.url)
    monkeypatch.setenv("JUPYTER_GATEWAY_AUTH_TOKEN", TOKEN)
    manager = GatewayKernelManager()
    async with started(manager, tmp_path):
        [model] = (await gateway.client.kernels()).values()
        assert (model["name"], manager.kernel_spec.language) == ("local", "python")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bogus"], "GatewayKernelManager.gateway_options: unrecognized arguments: --bogus"),
        (["--token-variable=B", "--token-file=f"], "More than one place for the token"),
    ],
)
async def test_wrong_options_are_an_error_in_words(options, words):
    with pytest.raises(ConfigurationError, match=words):
        await manager_of("http://localhost:1", *options).start_kernel()


async def test_no_gateway_is_an_error_in_words(monkeypatch):
    monkeypatch.delenv("JUPYTER_GATEWAY_URL", raising=False)
    with pytest.raises(ConfigurationError, match="JUPYTER_GATEWAY_URL"):
        await GatewayKernelManager().start_kernel()


@pytest.mark.attack(21)
async def test_a_refused_token_is_an_error_without_the_token(gateway, monkeypatch, caplog):
    monkeypatch.setenv("A_TOKEN", "a-wrong-token")
    with pytest.raises(ClientError) as refused:
        await manager_of(gateway.client.url).start_kernel()
    assert "a-wrong-token" not in f"{refused.value}{caplog.text}"


def arguments_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.attack(21)
async def test_the_token_is_in_no_argument_of_a_process(gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("A_TOKEN", TOKEN)
    manager = manager_of(gateway.client.url)
    async with started(manager, tmp_path):
        arguments = arguments_of(manager.provisioner.pid)
    assert b"gateway_provisioners_client" in arguments
    assert TOKEN.encode() not in arguments
