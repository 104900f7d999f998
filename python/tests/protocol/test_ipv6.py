"""A gateway and kernels of three languages in networks that have IPv6 alone."""

import contextlib
import errno
import json
import socket
import sys

import pytest
from ipv6_network import GATEWAY_IP, KERNEL_IP, network
from launched import SCRIPT
from launched_scala import USER, VARIABLES

from ci import images
from ci.builders import find_builder
from ci.local_gateway import gateway_process

pytestmark = pytest.mark.slow  # it needs root

# What the gateway that starts a launcher gives it.
GIVEN = (
    *("KERNEL_ID", "RESPONSE_ADDRESS", "PUBLIC_KEY", "KERNEL_LAUNCH_KEY"),
    "KERNEL_GATEWAY_FEATURES",
)


@pytest.fixture
def ipv6():
    with network() as made:
        yield made


def test_ipv4_is_absent(ipv6):
    """Else the tests below would prove nothing."""
    assert ipv6.addresses("-4") == ""
    assert KERNEL_IP in ipv6.addresses("-6")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        assert sock.connect_ex(("192.0.2.1", 80)) == errno.ENETUNREACH


async def lifecycle(folder, ipv6, command, number, busy):
    """Start a kernel, use it, interrupt it and restart it."""
    settings = {
        "GATEWAY_IP": "*",
        "RESPONSE_IP": GATEWAY_IP,
        "RESPONSE_ATTEMPTS": "2",
        "APART": json.dumps([*ipv6.kernels, *command]),
    }
    async with (
        gateway_process(folder, GATEWAY_IP, **settings) as gateway,
        gateway.client.kernel("apart") as channels,
    ):
        kernel_id = channels.kernel_id
        assert "42" in (await channels.execute(number)).text

        async def interrupt():
            await gateway.client.interrupt(kernel_id)

        stopped = await channels.execute(busy, on_busy=interrupt)
        assert stopped.status in ("error", "abort", "aborted")
        await gateway.client.restart(kernel_id)
        assert "42" in (await channels.execute(number)).text
        assert f"[{GATEWAY_IP}]" in gateway.log()


async def test_python(ipv6, tmp_path):
    await lifecycle(
        tmp_path,
        ipv6,
        [sys.executable, str(SCRIPT)],
        "print(6 * 7)",
        "print('on', flush=True); import time; time.sleep(600)",
    )


@pytest.fixture(scope="module")
def built():
    """Build the images, before a test leaves this machine's network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BUILDER", "buildah")  # containers of engines have networks of their own
        images.ensure([images.KERNEL_R.reference, images.KERNEL_SCALA.reference])
    return find_builder("buildah")


@contextlib.contextmanager
def start_command(builder, image, **variables):
    """Give the command that starts the kernel of an image, with these variables and those of GIVEN."""
    given = {**dict.fromkeys(GIVEN, ""), **variables}
    with builder.container(image.reference, USER, given) as (command, environment):
        own = [f"{name}={value}" for name, value in environment.items() if name not in GIVEN]
        yield ["env", *own, *command]


async def test_r(built, ipv6, tmp_path):
    with start_command(built, images.KERNEL_R, KERNEL_LANGUAGE="r") as command:
        busy = "cat('on'); flush(stdout()); Sys.sleep(600)"
        await lifecycle(tmp_path, ipv6, command, "cat(6 * 7)", busy)


async def test_scala(built, ipv6, tmp_path):
    variables = {**VARIABLES, "KERNEL_LANGUAGE": "scala", "KERNEL_SPARK_CONTEXT_INIT_MODE": "none"}
    with start_command(built, images.KERNEL_SCALA, **variables) as command:
        busy = 'println("on"); Thread.sleep(600000)'
        await lifecycle(tmp_path, ipv6, command, "println(6 * 7)", busy)
