"""R kernels, through a gateway that Helm deployed."""

import asyncio
import base64

import pytest
import pytest_asyncio
from kernel_deaths import execute_to_death

from ci import images
from ci.gateway_client import Refused
from message_words import unwrapped
from timeouts import eventually

PLOT = "library(ggplot2); ggplot(mpg, aes(displ, hwy)) + geom_point()"
BUSY_LOOP = "begun <- TRUE; cat(begun); flush.console(); repeat {}"
FILL_MEMORY = "all <- list(); repeat all[[length(all) + 1]] <- numeric(2e6) + 1"


# A root that cannot be written to, and a user id without an account, as OpenShift chooses them.
HARDENED = {
    "spec": {
        "securityContext": {"runAsUser": 1000970000, "runAsGroup": 0},
        "containers": [{"name": "kernel", "securityContext": {"readOnlyRootFilesystem": True}}],
    }
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(chart):
    image = {"image": images.KERNEL_R.reference, "language": "r"}
    kernels = {
        "r": {"enabled": True},
        "small_r": {**image, "resources": {"limits": {"memory": "256Mi"}}},
        "encrypted_r": {**image, "transportEncryption": "required"},
        "hardened_r": {
            **image,
            "podTemplate": HARDENED,
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            "env": {"PATH": "/opt/tools/bin:${PATH}", "LC_ALL": "C", "MINE": "${KERNEL_USERNAME}"},
        },
    }
    await chart.upgrade({"kernels": kernels})
    async with chart.gateway() as gateway:

        async def are_listed():
            listed = await gateway.request("GET", "/api/kernelspecs")
            return kernels.keys() <= listed["kernelspecs"].keys()

        await eventually(are_listed)
        yield gateway


async def test_a_hardened_pod_with_variables_that_refer_to_the_image(gateway):
    async with gateway.kernel("hardened_r", KERNEL_USERNAME="alice") as kernel:
        path = (await kernel.execute("cat(Sys.getenv('PATH'))")).text
        assert path.startswith("/opt/tools/bin:/")
        assert (await kernel.execute("cat(Sys.getenv('MINE'))")).text == "alice"
        assert (
            await kernel.execute("cat('h\u00e9', system('id -u', TRUE))")
        ).text == "h\u00e9 1000970000"
        written = await kernel.execute("cat(suppressWarnings(file.create(c('/opt/x', '/tmp/x'))))")
        assert written.text == "FALSE TRUE"


async def test_the_session_of_a_user(gateway):
    async with gateway.kernel("r") as kernel:
        info = await kernel.request_reply("shell", "kernel_info_request", {})
        assert info["language_info"]["name"] == "R"
        assert (await kernel.execute("cat(6 * 7)")).text == "42"
        [table] = (await kernel.execute("head(mtcars, 2)")).data
        assert table["text/html"].startswith("<table")
        [plot] = (await kernel.execute(PLOT)).data
        assert base64.b64decode(plot["image/png"]).startswith(b"\x89PNG")
        asked = await kernel.execute("cat('hello', readline('name? '))", answer="Ada")
        assert asked.text == "hello Ada"
        await kernel.execute("a_long_name <- 1")
        reply = await kernel.request_reply(
            "shell", "complete_request", {"code": "a_long_n", "cursor_pos": 8}
        )
        assert "a_long_name" in reply["matches"]


async def test_interrupting_a_busy_loop_keeps_the_variables(gateway):
    async with gateway.kernel("r") as kernel:
        result = await kernel.execute(
            BUSY_LOOP, on_busy=lambda: gateway.interrupt(kernel.kernel_id)
        )
        assert result.status == "abort"
        assert (await kernel.execute("cat(begun)")).text == "TRUE"


async def test_restart_and_delete(gateway, namespace):
    async with gateway.kernel("r") as kernel:
        await kernel.execute("x <- 1")
        await gateway.restart(kernel.kernel_id)
        assert (await kernel.execute("cat(exists('x'))")).text == "FALSE"
    await namespace.wait_gone(kernel.kernel_id)


async def test_five_kernels_at_once(gateway, namespace):
    async def use(number):
        async with gateway.kernel("r") as kernel:
            return (await kernel.execute(f"cat({number} ^ 2)")).text

    results = await asyncio.gather(*(use(number) for number in range(5)))
    assert results == [f"{number**2}" for number in range(5)]
    await namespace.wait_no_kernels()


async def test_a_kernel_that_hits_its_memory_limit_is_restarted(gateway, namespace):
    async with gateway.kernel("small_r") as kernel:
        [before] = await namespace.names("pods", kernel.kernel_id)
        await execute_to_death(kernel, FILL_MEMORY)
        assert (await kernel.execute("cat('alive')")).text == "alive"
        assert await namespace.names("pods", kernel.kernel_id) != [before]


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("r", "eager", "Spark is to be initialized (eager), but SparkR cannot be loaded"),
        (
            "encrypted_r",
            "none",
            "channels is required; IRkernel does not support it",
        ),
    ],
)
async def test_requests_that_the_image_cannot_meet(gateway, name, mode, said):
    with pytest.raises(Refused) as refusal:
        await gateway.start(name, KERNEL_SPARK_CONTEXT_INIT_MODE=mode)
    assert refusal.value.reason == "ContainerExited"
    assert said in unwrapped(refusal.value.message)
