"""The Scala launcher with real Spark, in its image; JVMs start slowly, so many tests share a kernel."""

import asyncio
import os
import signal
import sys
from types import SimpleNamespace

import pytest
import pytest_asyncio
import reference_v1
from command_peer import command, refuses_replies
from launched import KERNEL_ID, client_of
from launched_scala import USER, ScalaImage

from ci import images
from ci.builders import find_builder
from ci.paths import ROOT
from gateway_provisioners.errors import CommandFailed
from gateway_provisioners.handshake.command_client import CommandEndpoint, send_signal
from gateway_provisioners.handshake.payload import new_launch_key
from gateway_provisioners.handshake.response_server import ResponseServer
from gateway_provisioners.model.features import FRESH_KEY
from timeouts import TIMEOUT_SECONDS, within_timeout

pytestmark = pytest.mark.asyncio(loop_scope="module")
PORTS = range(27000, 28001)


@pytest.fixture(scope="module")
def scala_image():
    images.ensure([images.KERNEL_SCALA.reference])
    return ScalaImage(find_builder(os.environ.get("BUILDER")), images.KERNEL_SCALA.reference)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(gateway_key):
    server = ResponseServer("127.0.0.1", 0, 0, gateway_key)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lazy(scala_image, server, tmp_path_factory):
    """A kernel in mode lazy and a client of it."""
    key = new_launch_key()
    with (
        server.expect(KERNEL_ID, key) as expectation,
        scala_image.launched(
            tmp_path_factory.mktemp("lazy"),
            server.response_address,
            server.public_key,
            KERNEL_LAUNCH_KEY=key,
            KERNEL_GATEWAY_FEATURES=FRESH_KEY,
            KERNEL_NAME="scala",
            KERNEL_SPARK_CONTEXT_INIT_MODE="lazy",
            KERNEL_TRANSPORT_ENCRYPTION="auto",
            PORT_RANGE=f"{PORTS[0]}..{PORTS[-1]}",
        ) as started,
    ):
        arrival = await within_timeout(expectation.next_arrival())
        info = arrival.connection_info
        async with client_of(info.to_jupyter()) as client:
            yield SimpleNamespace(
                launched=started,
                arrival=arrival,
                info=info,
                launch_key=key,
                endpoint=CommandEndpoint("127.0.0.1", info.comm_port, KERNEL_ID, arrival.secret),
                client=client,
            )


async def execute(client, code):
    """Execute code; returns the reply and the output of each kind."""
    output = {}

    def collect(message):
        content = message["content"]
        if message["msg_type"] == "stream":
            output["text"] = output.get("text", "") + content["text"]
        elif "data" in content:
            output.update(content["data"])

    reply = await client.execute_interactive(code, output_hook=collect, timeout=TIMEOUT_SECONDS)
    return reply["content"], output


async def value(client, expression):
    content, output = await execute(client, f"println({expression})")
    assert content["status"] == "ok", content
    return output["text"].strip()


async def start_busy(kernel, code):
    """Execute code that calls busy() and then does not return; returns the task that waits for it."""
    busy = asyncio.Event()

    def connected(_, writer):
        busy.set()
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        call = f'new java.net.Socket("127.0.0.1", {port}).close()'
        running = asyncio.create_task(execute(kernel.client, code.replace("busy()", call)))
        await within_timeout(busy.wait())
    return running


async def interrupted(kernel, code):
    """Interrupt code that calls busy() and then does not return; returns the reply."""
    running = await start_busy(kernel, code)
    await send_signal(kernel.endpoint, signal.SIGINT)
    return (await within_timeout(running))[0]


async def test_report(lazy):
    info = lazy.info
    assert lazy.arrival.protocol == 2
    assert (info.ip, info.transport, info.kernel_name) == ("127.0.0.1", "tcp", "scala")
    ports = {info.shell_port, info.iopub_port, info.stdin_port, info.control_port, info.hb_port}
    assert len(ports | {info.comm_port}) == 6
    assert all(port in PORTS for port in ports | {info.comm_port})
    assert info.curve_publickey is None
    assert info.features == ("usage", "fresh-key")


async def test_executes_and_shows(lazy):
    _, output = await execute(lazy.client, "val six = 6\nsix * 7")
    assert output["text/plain"] == "42"
    _, output = await execute(lazy.client, 'kernel.display.html("<b>bold</b>")')
    assert output["text/html"] == "<b>bold</b>"
    reply, _ = await execute(lazy.client, "1 / 0")
    assert (reply["status"], reply["ename"]) == ("error", "java.lang.ArithmeticException")


async def test_output_is_complete_and_in_order_at_idle(lazy):
    """Much of it, so that one part is still on its way when the next part is, or the end."""
    text = ",".join(map(str, range(100_000)))
    for _ in range(5):
        _, output = await execute(lazy.client, 'println((0 until 100000).mkString(","))')
        assert output["text"].strip() == text


async def test_completes(lazy):
    reply = await lazy.client.complete("Seq(1).mkStr", reply=True, timeout=TIMEOUT_SECONDS)
    assert reply["content"]["matches"] == ["mkString"]


async def test_user_code_sees_nothing_of_the_launcher(lazy):
    names = '"KERNEL_LAUNCH_KEY", "PUBLIC_KEY", "RESPONSE_ADDRESS", "KERNEL_ID"'
    assert await value(lazy.client, f"Seq({names}).filter(sys.env.contains)") == "List(KERNEL_ID)"
    # Nor do the programs that it starts; and System.in is not the launcher's.
    assert lazy.launch_key not in await value(lazy.client, 'sys.process.Process("env").!!')
    assert await value(lazy.client, "java.lang.System.in.read()") == "-1"


@pytest.mark.parametrize("code", ["busy(); while (true) {}", "busy(); Thread.sleep(3600000)"])
async def test_interrupt_keeps_variables(lazy, code):
    await execute(lazy.client, "val kept = 41")
    assert (await interrupted(lazy, code))["status"] == "error"
    assert await value(lazy.client, "kept + 1") == "42"
    assert await value(lazy.client, "org.apache.spark.SparkEnv.get") == "null"


async def test_answers_about_usage_while_busy(lazy):
    """A builder's container may see no cgroup; tests/cluster/test_usage.py reads the numbers of a pod."""
    running = await start_busy(lazy, "busy(); while (true) {}")
    reply = await command(lazy.endpoint, {"usage": 1})
    await send_signal(lazy.endpoint, signal.SIGINT)
    assert (await within_timeout(running))[0]["status"] == "error"
    if reply["ok"]:
        assert reply["usage"]["cpu"] > 0
    else:
        assert reply == {"ok": False, "error": "the container's cgroup cannot be read"}


async def test_lazy_means_at_first_use(lazy):
    assert await value(lazy.client, "org.apache.spark.SparkEnv.get") == "null"
    assert await value(lazy.client, "sc.parallelize(1 to 100).map(_ * 2).sum") == "10100.0"
    assert await value(lazy.client, "org.apache.spark.SparkEnv.get != null") == "true"
    reply = await interrupted(
        lazy, "sc.parallelize(1 to 2, 1).map(i => { busy(); Thread.sleep(3600000); i }).sum"
    )
    assert reply["status"] == "error"
    assert await value(lazy.client, "spark.range(10).count") == "10"


@pytest.mark.attack(16)
async def test_reply_is_no_command(lazy):
    assert await refuses_replies(lazy.endpoint)
    await send_signal(lazy.endpoint, 0)


async def test_the_end(lazy):
    """Last: the listener ends, then the kernel, and the log holds no secrets."""
    assert (await command(lazy.endpoint, {"shutdown": 1})) == {"ok": True}
    with pytest.raises(CommandFailed, match="cannot be reached"):
        await send_signal(lazy.endpoint, 0)
    assert await value(lazy.client, "1 + 1") == "2"
    await lazy.client.shutdown(reply=True, timeout=TIMEOUT_SECONDS)
    assert await lazy.launched.exit_code() == 0
    log = lazy.launched.log()
    assert f"kernel {KERNEL_ID} is up, channels not encrypted; reported to 127.0.0.1" in log
    assert lazy.info.key not in log
    assert lazy.launch_key not in log
    assert lazy.arrival.secret not in log


async def test_version_1_and_eager(scala_image, tmp_path):
    with (
        reference_v1.GatewayV1(1024) as gateway,
        scala_image.launched(
            tmp_path,
            gateway.response_address,
            gateway.public_key,
            KERNEL_SPARK_CONTEXT_INIT_MODE="eager",
        ) as kernel,
    ):
        info = await asyncio.to_thread(gateway.connection_info)
        assert info["kernel_id"] == KERNEL_ID
        assert (info["ip"], info["pgid"]) == ("0.0.0.0", info["pid"])
        async with client_of(info) as client:
            assert await value(client, "org.apache.spark.SparkEnv.get != null") == "true"
            assert reference_v1.command(info["comm_port"], {"signum": 0}) == b""
            reference_v1.command(info["comm_port"], {"signum": signal.SIGTERM})
            assert await kernel.exit_code() == 128 + signal.SIGTERM
        assert info["key"] not in kernel.log()


async def test_none_means_none(scala_image, tmp_path):
    with (
        reference_v1.GatewayV1() as gateway,
        scala_image.launched(tmp_path, gateway.response_address, gateway.public_key) as kernel,
    ):
        info = await asyncio.to_thread(gateway.connection_info)
        async with client_of(info) as client:
            reply, _ = await execute(client, "sc")
            assert "not found: value sc" in reply["evalue"]
            # User code makes its own.
            make = "org.apache.spark.sql.SparkSession.builder.getOrCreate.range(7).count"
            assert await value(client, make) == "7"
            reference_v1.command(info["comm_port"], {"signum": signal.SIGKILL})
            assert await kernel.exit_code() == 128 + signal.SIGKILL


async def failure(image, tmp_path, gateway_key, **variables):
    """Launch; gives the exit code and the last line of the log."""
    key = new_launch_key()
    given = {"KERNEL_LAUNCH_KEY": key, **variables}
    with image.launched(tmp_path, "127.0.0.1:9", gateway_key.public_key, **given) as kernel:
        code = await kernel.exit_code()
        assert key not in kernel.log()
        return code, kernel.log().splitlines()[-1]


async def test_required_encryption(scala_image, tmp_path, gateway_key):
    variables = {"KERNEL_TRANSPORT_ENCRYPTION": "required"}
    assert await failure(scala_image, tmp_path, gateway_key, **variables) == (
        78,
        "toree-launcher: encryption of the kernel's channels is required; Apache Toree does not support it",
    )


async def test_range_without_room(scala_image, tmp_path, gateway_key):
    """Six ports are needed."""
    variables = {"PORT_RANGE": "29000..29001", "MIN_PORT_RANGE_SIZE": "1"}
    code, line = await failure(scala_image, tmp_path, gateway_key, **variables)
    assert (code, line) == (70, "toree-launcher: no free port within 29000..29001")


async def test_spark_that_cannot_start(scala_image, tmp_path, gateway_key):
    variables = {
        "KERNEL_SPARK_CONTEXT_INIT_MODE": "eager",
        "KERNEL_EXTRA_SPARK_OPTS": "--master local[none]",
    }
    code, line = await failure(scala_image, tmp_path, gateway_key, **variables)
    assert code == 70
    assert line.startswith("toree-launcher: the kernel could not be started: ")


async def test_spark_options_with_an_open_quote(scala_image, tmp_path, gateway_key):
    variables = {"KERNEL_EXTRA_SPARK_OPTS": "--conf 'a=b"}
    code, line = await failure(scala_image, tmp_path, gateway_key, **variables)
    assert code == 64
    assert line == "toree-launcher: KERNEL_EXTRA_SPARK_OPTS is malformed: a quote (') is not closed"


async def test_unreachable_gateway(scala_image, tmp_path, gateway_key):
    code, line = await failure(scala_image, tmp_path, gateway_key)
    assert code == 70
    assert line == (
        "toree-launcher: the gateway cannot be reached at the response address 127.0.0.1:9"
        " after 2 attempts: Connection refused"
    )


async def test_the_check_of_images(scala_image):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ci.check_image", images.KERNEL_SCALA.reference, "--user", USER),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    for use in (
        "its six ports can be reached and are within PORT_RANGE",
        "`1 + 1` is 2",
        "an endless loop can be interrupted",
        "it ends when it is asked to, with exit code 0",
    ):
        assert f"ok       scala kernel: {use}\n" in output
