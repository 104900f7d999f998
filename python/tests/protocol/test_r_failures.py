"""R launches that cannot succeed end by themselves, and Spark comes when the init mode says."""

import re

import pytest
from launched import client_of, run
from test_launch_failures import closed_port, public_key  # noqa: F401  fixtures

from gateway_provisioners.handshake.payload import new_launch_key


@pytest.fixture
def failure(container_of_r, public_key):  # noqa: F811
    async def launch(*arguments, port=9, key=None, **options):
        """Gives the exit code, the last line of the log, and the log."""
        if key:
            options["KERNEL_LAUNCH_KEY"] = key
        options["arguments"] = arguments
        address = f"127.0.0.1:{port}"
        with container_of_r.launched(address, public_key, **options) as kernel:
            code = await kernel.exit_code()
            return code, kernel.log().splitlines()[-1], kernel.log()

    return launch


@pytest.mark.parametrize("key", [None, new_launch_key()], ids=["v1", "v2"])
async def test_unreachable_gateway(failure, closed_port, key):  # noqa: F811
    code, line, log = await failure(port=closed_port, key=key)
    assert code == 70
    address = f"127.0.0.1:{closed_port}"
    assert line == (
        f"launch_IRkernel: the gateway cannot be reached at the response address {address}"
        f" after 2 attempts: {address} cannot be opened"
    )
    assert log.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port-range", "20000"], "--port-range (PORT_RANGE) is not of the form"),
        (["--port-range", "20000..20999"], "must span at least 1000 ports"),
        (["--port-range", "30000..20000"], "must lie within 1024..65535"),
        (["--port-range=60000..70000"], "must lie within 1024..65535"),
        (["--response-address", "1.2.3.4"], "--response-address (RESPONSE_ADDRESS)"),
        (["--response-address", "1.2.3.4:0"], "--response-address (RESPONSE_ADDRESS)"),
        (["--response-address", "[::1]:80"], "an IPv6 address, and KERNEL_LAUNCH_KEY is missing"),
        (["--public-key", "hello"], "--public-key (PUBLIC_KEY) is missing or not base64"),
        (["--public-key", "MAAA"], "--public-key (PUBLIC_KEY) cannot be read"),
        (["--kernel-id", "../x"], "--kernel-id (KERNEL_ID)"),
        (["--kernel-id", "x\n"], "--kernel-id (KERNEL_ID)"),
        (["--spark-context-initialization-mode", "soon"], "must be one of: none, lazy, eager"),
        (["--transport-encryption", "maybe"], "must be one of: disabled, auto, required"),
        (["--cluster-type", "dask"], "--cluster-type must be one of: spark, none"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["--port-range"], "argument --port-range: expected one argument"),
    ],
)
async def test_bad_parameters(failure, arguments, said):
    code, line, log = await failure(*arguments)
    assert code == 64
    assert said in line
    assert log.count("\n") == 1


async def test_bad_environment(failure):
    code, line, log = await failure(key="hush-hush")
    assert (code, line) == (64, "launch_IRkernel: KERNEL_LAUNCH_KEY is not base64 of 32 bytes")
    assert "hush" not in log
    code, line, _ = await failure(RESPONSE_ATTEMPTS="some")
    said = "launch_IRkernel: RESPONSE_ATTEMPTS must be a whole number from 1 to 99999"
    assert (code, line) == (64, said)


async def test_encryption_that_is_required(failure):
    code, line, _ = await failure(KERNEL_TRANSPORT_ENCRYPTION="required")
    assert code == 78
    assert line == (
        "launch_IRkernel: encryption of the kernel's channels is required;"
        " IRkernel does not support it"
    )


async def test_range_without_room(failure):
    """Six ports are needed."""
    arguments = ("--port-range", "24000..24001")
    code, line, _ = await failure(*arguments, key=new_launch_key(), MIN_PORT_RANGE_SIZE="1")
    assert (code, line) == (70, "launch_IRkernel: no free port within 24000..24001")


BROKEN = """
library=$(mktemp -d); cp -r /usr/lib/R/site-library/{package} $library
truncate -s 10 $library/{package}/R/{package}.rdb
export R_LIBS=$library
"""


async def test_broken_irkernel(failure):
    code, line, _ = await failure(setup=BROKEN.format(package="IRkernel"), key=new_launch_key())
    assert code == 69
    assert line.startswith("launch_IRkernel: IRkernel cannot be loaded in this image: ")


async def test_gateway_of_version_1_and_no_openssl(failure):
    code, line, _ = await failure(setup=BROKEN.format(package="openssl"))
    assert code == 69
    assert line == (
        "launch_IRkernel: this gateway speaks version 1 of the protocol,"
        " which needs the R package openssl"
    )


async def test_image_without_sparkr(failure, launch_r):
    mode = ("--spark-context-initialization-mode", "eager")
    code, line, _ = await failure(*mode, key=new_launch_key())
    assert code == 69
    missing = "but SparkR cannot be loaded: there is no package called .SparkR."
    said = rf"launch_IRkernel: Spark is to be initialized \(eager\), {missing}"
    assert re.fullmatch(said, line)
    async with (
        launch_r(KERNEL_SPARK_CONTEXT_INIT_MODE="lazy") as kernel,
        client_of(kernel.info.to_jupyter()) as client,
    ):
        assert (await run(client, "cat(1)"))[1] == "1"
        for _ in range(2):
            reply, _ = await run(client, "spark")
            assert re.search(rf"Spark is to be initialized \(lazy\), {missing}", reply["evalue"])


# A package that stands for SparkR: it says when its session is made.
SPARKR = r"""
source=$(mktemp -d) library=$(mktemp -d); mkdir $source/R
printf 'Package: SparkR\nVersion: 3.5\nTitle: T\nDescription: D\nLicense: L\n' >$source/DESCRIPTION
echo 'export(sparkR.session)' >$source/NAMESPACE
cat >$source/R/all.R <<'R'
sparkR.session <- function() {
  options(sessions = getOption("sessions", 0) + 1)
  "a session"
}
callJStatic <- function(class, method, session) paste("context of", session)
R
R CMD INSTALL --library=$library $source >/dev/null 2>&1
export R_LIBS=$library
"""


@pytest.mark.parametrize(("mode", "before"), [("none", "0"), ("lazy", "0"), ("eager", "2")])
async def test_spark(launch_r, mode, before):
    async with (
        launch_r(setup=SPARKR, KERNEL_SPARK_CONTEXT_INIT_MODE=mode) as kernel,
        client_of(kernel.info.to_jupyter()) as client,
    ):
        made = "cat(getOption('sessions', 0))"
        assert (await run(client, made))[1] == before
        if mode == "none":
            assert (await run(client, "spark"))[0]["status"] == "error"
        else:
            assert (await run(client, "cat(sc, spark, sep = ', ')"))[1] == (
                "context of a session, a session"
            )
            assert (await run(client, "x <- spark"))[0]["status"] == "ok"
            assert (await run(client, made))[1] == "2"
