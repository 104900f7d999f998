"""The Scala launcher where an image, a kernelspec or a user has changed what the JVM and Spark start with."""

import contextlib
import os

import pytest
import pytest_asyncio
from launched import KERNEL_ID, client_of, run
from launched_scala import ScalaImage

from ci import images
from ci.builders import find_builder
from gateway_provisioners.handshake.payload import new_launch_key
from gateway_provisioners.handshake.response_server import ResponseServer
from timeouts import within_timeout

# As OpenShift chooses ids: without an account in the image.
STRANGER = "1000970000:0"


@pytest.fixture(scope="module")
def scala_image():
    images.ensure([images.KERNEL_SCALA.reference])
    return ScalaImage(find_builder(os.environ.get("BUILDER")), images.KERNEL_SCALA.reference)


@pytest_asyncio.fixture
async def server(gateway_key):
    server = ResponseServer("127.0.0.1", 0, 0, gateway_key)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def launch_scala(scala_image, server, tmp_path):
    @contextlib.asynccontextmanager
    async def launch(**options):
        """Start a kernel; give a client of it."""
        key = new_launch_key()
        address = server.response_address, server.public_key
        with (
            server.expect(KERNEL_ID, key) as expectation,
            scala_image.launched(tmp_path, *address, KERNEL_LAUNCH_KEY=key, **options) as started,
        ):
            try:
                arrival = await within_timeout(expectation.next_arrival())
            except TimeoutError:
                raise AssertionError(started.log()) from None
            async with client_of(arrival.connection_info.to_jupyter()) as client:
                yield client

    return launch


async def printed(client, expression):
    content, output = await run(client, f"println({expression})")
    assert content["status"] == "ok", content
    return output.strip()


async def test_everything_is_changed(launch_scala):
    options = (
        """--conf "spark.driver.extraJavaOptions=-Da=1 -Db=2" --conf spark.app.name='two words'"""
    )
    async with launch_scala(
        umask=0o077,
        HOME="/nonexistent",
        LANG="C",
        LC_ALL="C",
        TZ="Asia/Tokyo",
        JAVA_TOOL_OPTIONS="-Dc=3",
        KERNEL_SPARK_CONTEXT_INIT_MODE="lazy",
        KERNEL_EXTRA_SPARK_OPTS=options,
    ) as client:
        properties = (
            'System.getProperty("a"), System.getProperty("b"), spark.conf.get("spark.app.name")'
        )
        assert await printed(client, f"({properties})") == "(1,2,two words)"
        assert await printed(client, 'System.getProperty("c")') == "3"
        assert await printed(client, "java.time.ZoneId.systemDefault") == "Asia/Tokyo"
        assert await printed(client, '"h\u00e9".length + "h\u00e9"') == "2h\u00e9"
        assert await printed(client, 'new String("h\u00e9".getBytes, "UTF-8")') == "h\u00e9"
        assert await printed(client, "spark.range(5).count()") == "5"


async def test_a_user_without_an_account(launch_scala):
    async with launch_scala(user=STRANGER, KERNEL_SPARK_CONTEXT_INIT_MODE="eager") as client:
        assert await printed(client, "spark.range(5).count()") == "5"
        assert await printed(client, "sc.sparkUser") == "user1000970000"
        home = 'new java.io.File(System.getProperty("user.home"))'
        assert await printed(client, f"{home}.canWrite") == "true"
