"""Launches that cannot succeed end by themselves, with one line that gives the cause and an exit code."""

import asyncio
import signal
import socket

import pytest
from launched import KERNEL_ID, launched

from gateway_provisioners.handshake.command_client import send_signal
from gateway_provisioners.handshake.payload import new_launch_key


@pytest.fixture(scope="module")
def public_key(gateway_key):
    return gateway_key.public_key


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def failure(tmp_path, public_key, *arguments, port=9, **variables):
    """Launch; gives the exit code and the last line of the log."""
    address = f"127.0.0.1:{port}"
    with launched(tmp_path, address, public_key, arguments=arguments, **variables) as kernel:
        code = await kernel.exit_code()
        assert not list((tmp_path / "tmp").iterdir())
        return code, kernel.log().splitlines()[-1], kernel.log()


@pytest.mark.parametrize("key", [None, new_launch_key()], ids=["v1", "v2"])
async def test_unreachable_gateway(tmp_path, public_key, closed_port, key):
    variables = {"KERNEL_LAUNCH_KEY": key} if key else {}
    code, line, _ = await failure(tmp_path, public_key, port=closed_port, **variables)
    assert code == 70
    assert line == (
        "launch_ipykernel: the gateway cannot be reached at the response address"
        f" 127.0.0.1:{closed_port} after 2 attempts: Connection refused"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port-range", "20000"], "--port-range (PORT_RANGE) is not of the form"),
        (["--port-range", "20000..20999"], "must span at least 1000 ports"),
        (["--port-range", "30000..20000"], "must lie within 1024..65535"),
        (["--port-range", "100..2000"], "must lie within 1024..65535"),
        (["--port-range", "60000..70000"], "must lie within 1024..65535"),
        (["--response-address", "1.2.3.4"], "--response-address (RESPONSE_ADDRESS)"),
        (["--response-address", "1.2.3.4:0"], "--response-address (RESPONSE_ADDRESS)"),
        (["--response-address", "[::1]:80"], "an IPv6 address, and KERNEL_LAUNCH_KEY is missing"),
        (["--public-key", "hello"], "--public-key (PUBLIC_KEY)"),
        (["--kernel-id", "../x"], "--kernel-id (KERNEL_ID)"),
        (["--kernel-class-name", "a b.c"], "--kernel-class-name (KERNEL_CLASS_NAME)"),
        (["--kernel-class-name", "no.such.Kernel"], "cannot be imported: No module named 'no'"),
        (["--kernel-class-name", "json.no_such_class"], "cannot be imported"),
        (["--kernel-class-name", "json.JSONDecoder"], "is not a subclass of ipykernel"),
        (["--spark-context-initialization-mode", "soon"], "must be one of: none, lazy, eager"),
        (["--transport-encryption", "maybe"], "must be one of: disabled, auto, required"),
        (["--cluster-type", "dask"], "--cluster-type must be one of: spark, none"),
        (["--no-such-option"], "unrecognized arguments"),
        (["--port-range"], "expected one argument"),
    ],
)
async def test_bad_parameters(tmp_path, public_key, arguments, said):
    code, line, log = await failure(tmp_path, public_key, *arguments)
    assert code == 64
    assert said in line
    assert log.count("\n") == 1


async def test_invalid_launch_key(tmp_path, public_key):
    code, line, log = await failure(tmp_path, public_key, KERNEL_LAUNCH_KEY="hush-hush")
    assert code == 64
    assert line == "launch_ipykernel: KERNEL_LAUNCH_KEY is not base64 of 32 bytes"
    assert "hush" not in log


async def test_invalid_public_key(tmp_path, closed_port):
    code, line, _ = await failure(tmp_path, "MAAA", port=closed_port)
    assert (code, line) == (64, "launch_ipykernel: --public-key (PUBLIC_KEY) cannot be read")


async def test_range_without_room(tmp_path, public_key):
    """Six ports are needed."""
    arguments = ("--port-range", "24000..24001")
    code, line, _ = await failure(tmp_path, public_key, *arguments, MIN_PORT_RANGE_SIZE="1")
    assert (code, line) == (70, "launch_ipykernel: no free port within 24000..24001")


@pytest.mark.parametrize("name", ["MIN_PORT_RANGE_SIZE", "RESPONSE_ATTEMPTS"])
async def test_bad_settings(tmp_path, public_key, name):
    arguments = ("--port-range", "20000..30000")
    code, line, _ = await failure(tmp_path, public_key, *arguments, **{name: "some"})
    assert (code, line) == (64, f"launch_ipykernel: {name} must be a whole number from 1 to 99999")


@pytest.mark.parametrize("value", ["-1", "many", "12345678901"])
async def test_invalid_mailbox_size(tmp_path, public_key, value):
    code, line, _ = await failure(tmp_path, public_key, KERNEL_MAILBOX_BYTES=value)
    said = "KERNEL_MAILBOX_BYTES must be a whole number of bytes from 0 to 9999999999"
    assert (code, line) == (64, f"launch_ipykernel: {said}")


async def test_directory_that_is_too_deep_for_sockets(tmp_path, public_key):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    variables = {"KERNEL_LAUNCH_KEY": new_launch_key(), "TMPDIR": str(deep)}
    code, line, _ = await failure(tmp_path, public_key, **variables)
    assert code == 70
    assert "TMPDIR is too long: the kernel's sockets cannot be made in" in line
    assert not list(deep.iterdir())


def module(tmp_path, name, text):
    """Put a module of the image's on the launcher's path."""
    path = tmp_path / "modules" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(tmp_path / "modules")


async def test_kernel_class_that_fails(tmp_path, public_key):
    text = """
from ipykernel.ipkernel import IPythonKernel
class Kernel(IPythonKernel):
    def __init__(self, **keywords):
        raise RuntimeError("the license server is away")
"""
    path = module(tmp_path, "acme", text)
    arguments = ("--kernel-class-name", "acme.Kernel")
    code, line, log = await failure(tmp_path, public_key, *arguments, PYTHONPATH=path)
    assert (code, line) == (70, "launch_ipykernel: the kernel could not be started: RuntimeError")
    assert "RuntimeError: the license server is away" in log


async def test_kernel_that_dies_while_it_starts(tmp_path, public_key):
    path = module(tmp_path, "acme", "import os; print('oh', flush=True); os._exit(5)")
    arguments = ("--kernel-class-name", "acme.Kernel")
    code, line, _ = await failure(tmp_path, public_key, *arguments, PYTHONPATH=path)
    assert (code, line) == (5, "oh")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ipykernel", "ipykernel cannot be imported in this image: not in this image"),
        ("zmq", "pyzmq cannot be imported in this image: not in this image"),
        (
            "selectors",
            "the launcher cannot be loaded: not in this image",
        ),  # instead of Python's own
    ],
)
async def test_image_without_a_module(tmp_path, public_key, name, said):
    path = module(tmp_path, name, "raise ImportError('not in this image')")
    variables = {"PYTHONPATH": path, "KERNEL_LAUNCH_KEY": new_launch_key()}
    code, line, _ = await failure(tmp_path, public_key, **variables)
    assert (code, line) == (69, f"launch_ipykernel: {said}")


CANNOT_BE_USED = {
    "missing": "raise ImportError('not in this image')",
    "deprecated": "raise DeprecationWarning('this Python is too old')",
    # As cryptography's Rust code, without cffi.
    "panic": "class PanicException(BaseException): pass\nraise PanicException('Python API call failed')",
}


@pytest.mark.parametrize("why", CANNOT_BE_USED)
async def test_image_without_cryptography(tmp_path, launch, why):
    path = module(tmp_path, "cryptography", CANNOT_BE_USED[why])
    async with launch(PYTHONPATH=path) as kernel:
        await send_signal(kernel.endpoint, signal.SIGTERM)
        assert await kernel.launched.exit_code() == 128 + signal.SIGTERM


async def test_version_1_without_cryptography(tmp_path, gateway_v1):
    path = module(tmp_path, "cryptography", CANNOT_BE_USED["missing"])
    arguments = (tmp_path, gateway_v1.response_address, gateway_v1.public_key)
    with launched(*arguments, PYTHONPATH=path):
        info = await asyncio.to_thread(gateway_v1.connection_info)
        assert info["kernel_id"] == KERNEL_ID


# Imported as the kernel class is, so before the launcher looks for what encryption needs.
OLD_IPYKERNEL = """
from ipykernel.ipkernel import IPythonKernel as Kernel
import ipykernel._version
ipykernel._version.version_info = (7, 2, 0)
"""
NO_CURVE = """
from ipykernel.ipkernel import IPythonKernel as Kernel
import zmq
zmq.has = lambda capability: False
"""


@pytest.mark.parametrize(
    ("text", "missing"),
    [(OLD_IPYKERNEL, "ipykernel 7.3 or later"), (NO_CURVE, "a libzmq with CurveZMQ")],
)
async def test_required_encryption_that_is_impossible(tmp_path, public_key, text, missing):
    path = module(tmp_path, "acme", text)
    arguments = ("--kernel-class-name", "acme.Kernel", "--transport-encryption", "required")
    code, line, _ = await failure(tmp_path, public_key, *arguments, PYTHONPATH=path)
    expected = "launch_ipykernel: encryption of the kernel's channels is required and needs "
    assert (code, line) == (78, expected + missing)


@pytest.mark.parametrize("text", [OLD_IPYKERNEL, NO_CURVE])
async def test_encryption_that_is_impossible_and_not_required(tmp_path, launch, text):
    path = module(tmp_path, "acme", text)
    arguments = ("--kernel-class-name", "acme.Kernel", "--transport-encryption", "auto")
    async with launch(*arguments, PYTHONPATH=path) as kernel:
        assert kernel.info.curve_publickey is None


@pytest.mark.parametrize("mode", ["lazy", "eager"])
async def test_spark_without_pyspark(tmp_path, public_key, mode):
    path = module(tmp_path, "pyspark", "raise ImportError('not in this image')")
    arguments = ("--spark-context-initialization-mode", mode)
    code, line, _ = await failure(tmp_path, public_key, *arguments, PYTHONPATH=path)
    assert code == 69
    assert line == (
        f"launch_ipykernel: Spark is to be initialized ({mode}),"
        " but pyspark cannot be imported: not in this image"
    )
