"""Settings of images that are not meant for kernels: health checks, signals, volumes, folders."""

import asyncio
import os
import subprocess
import time
import uuid

import pytest
from kernel_host import EVERY_ENGINE

from ci import images
from timeouts import within_timeout

# As those of docker-stacks, whose check looks for a Jupyter server, which kernels' containers do not run.
DOCKERFILE = f"""
FROM {images.KERNEL_PY.reference}
HEALTHCHECK --interval=1s --timeout=1s --retries=2 CMD false
STOPSIGNAL SIGINT
VOLUME /data
EXPOSE 8888
WORKDIR /srv/of-root
ONBUILD RUN false
ENTRYPOINT ["tini", "--"]
CMD ["bootstrap-kernel.sh"]
"""


@pytest.fixture(params=EVERY_ENGINE)
def host(request, hosts):
    return hosts(*EVERY_ENGINE[request.param])


@pytest.fixture
def image(host):
    """The name of an image with such settings on the host's engine."""
    name = f"acme/gp-test-{uuid.uuid4().hex[:8]}:1"
    subprocess.run(
        ["docker", f"--host={host.engine.host}", "build", "--quiet", "--tag", name, "-"],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        input=DOCKERFILE,
        text=True,
        check=True,
    )
    yield name
    host.wait_gone()
    host.engine.cli("rmi", name)


async def wait_for_end_of_unhealthy_service(engine, image):
    """Return when Swarm has ended the task of a service whose image's check fails."""
    name, begin = f"gp-test-{uuid.uuid4().hex[:8]}", time.time()
    options = ["--detach", "--no-resolve-image", "--restart-condition=none", "--name", name]
    engine.cli("service", "create", *options, image, "sleep", "600")
    label = f"label=com.docker.swarm.service.name={name}"
    follow = ["events", f"--since={begin:.0f}", "--filter=event=die", f"--filter={label}"]
    events = await asyncio.create_subprocess_exec(
        "docker", f"--host={engine.host}", *follow, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert b"container die" in await within_timeout(events.stdout.readline())
    finally:
        events.kill()
        await events.wait()
        engine.cli("service", "rm", name)


async def test_a_health_check_that_fails_does_not_end_the_kernel(host, image):
    volumes = host.engine.cli("volume", "ls", "--quiet")
    async with host.kernel(image_name=image) as kernel:
        code = "import os; x = os.getcwd(), os.path.ismount('/data')"
        assert (await kernel.run(code))[0]["status"] == "ok"
        if host.is_swarm:
            await wait_for_end_of_unhealthy_service(host.engine, image)
        [container] = host.containers()
        assert container["Config"]["Healthcheck"]["Test"] == ["NONE"]
        assert not (container["State"].get("Health") or {}).get("Status")
        assert (await kernel.run("print(*x)"))[1] == "/srv/of-root True\n"
    host.wait_gone()
    assert host.engine.cli("volume", "ls", "--quiet") == volumes


async def test_a_kernel_ends_at_its_engines_stop(host, image, monkeypatch):
    monkeypatch.setenv("GP_REMOVE_CONTAINER", "False")
    async with host.kernel(image_name=image) as kernel:
        await kernel.run("print(1)")
        [container] = host.containers()
        host.engine.cli("stop", container["Id"])
        [container] = host.containers()
        # Not of the SIGKILL that follows a signal that a kernel takes for an interrupt.
        assert container["State"]["ExitCode"] != 137
    if not host.is_swarm:
        host.engine.cli("rm", "--volumes", container["Id"])
