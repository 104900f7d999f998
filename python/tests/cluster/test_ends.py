"""Failures and ends beyond the kernel's own container: init containers, sidecars, and the cluster."""

import json

import pytest
import pytest_asyncio
from kernel_deaths import error_at_death

from ci.gateway_client import Refused
from message_words import unwrapped
from timeouts import eventually

# How long a start may take whose containers have to have begun by then, also on a busy machine.
SECONDS = 15
ANNOTATIONS = {
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}


def container(name, image, script, **fields):
    return {
        "name": name,
        "image": image,
        "command": ["sh", "-c", script],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        **fields,
    }


def values(image):
    def kernel(template, **others):
        return {"image": image, "podTemplate": {"spec": template}, **others}

    silent = {"name": "kernel", "command": ["sleep", "600"]}
    return {
        "kernels": {
            "unprepared": kernel(
                {
                    "initContainers": [
                        container(
                            "clone",
                            image,
                            "exec >&2; for i in $(seq 40); do echo line $i; done; echo no route; exit 3",
                        )
                    ]
                }
            ),
            "hungry": kernel(
                {
                    "initContainers": [
                        container(
                            "unpack",
                            image,
                            "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo ${#x}",
                            resources={"limits": {"memory": "16Mi"}},
                        )
                    ]
                }
            ),
            "slow": kernel(
                {"initContainers": [container("clone", image, "echo cloning; sleep 600")]},
                launchTimeout=SECONDS,
            ),
            "imageless": kernel({"initContainers": [container("clone", "acme/git:1", "true")]}),
            "accompanied": kernel(
                {"containers": [silent, container("proxy", image, "echo no upstream; exit 4")]},
                launchTimeout=SECONDS,
            ),
            "crashing": kernel(
                {
                    "containers": [silent],
                    "initContainers": [
                        container(
                            "proxy",
                            image,
                            "echo no certificate; exit 5",
                            restartPolicy="Always",
                            startupProbe={"exec": {"command": ["false"]}},
                        )
                    ],
                },
                launchTimeout=2 * SECONDS,
            ),
            "movable": {"image": image, "evictable": True},
            # Nothing in a container can kill its first process, unless that is another container's.
            "exposed": kernel({"shareProcessNamespace": True}),
            "small": {"image": image, "resources": {"limits": {"memory": "200Mi"}}},
        }
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def kernels(chart):
    await chart.upgrade(values(chart.image))


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def nothing_remains(namespace, gateway):
    yield
    await namespace.wait_no_kernels()


async def refusal_of(gateway, name):
    with pytest.raises(Refused) as refusal:
        await gateway.start(name)
    return refusal.value


async def test_an_init_container_that_fails(gateway):
    refusal = await refusal_of(gateway, "unprepared")
    assert refusal.reason == "InitContainerFailed"
    assert "The init container 'clone' exited with code 3." in unwrapped(refusal.message)
    assert "line 40\nno route\nKernel 'unprepared' (" in refusal.message
    assert "line 20\n" not in refusal.message


async def test_an_init_container_that_needs_too_much_memory(gateway):
    refusal = await refusal_of(gateway, "hungry")
    assert refusal.reason == "InitContainerFailed"
    assert "'unpack' needed more memory than its limit" in unwrapped(refusal.message)


async def test_an_init_container_that_takes_too_long(gateway):
    refusal = await refusal_of(gateway, "slow")
    assert refusal.reason == "Timeout"
    assert unwrapped(refusal.message).startswith(
        "The init container 'clone' is still running. "
        f"The kernel did not start within {SECONDS} seconds."
    )
    assert "\ncloning\nKernel 'slow' (" in refusal.message


async def test_an_init_container_without_an_image(gateway):
    refusal = await refusal_of(gateway, "imageless")
    assert refusal.reason == "ImagePull"
    assert "acme/git:1" in refusal.message


async def test_a_sidecar_that_fails(gateway):
    refusal = await refusal_of(gateway, "accompanied")
    assert refusal.reason == "Timeout"
    assert "The sidecar 'proxy' exited with code 4." in unwrapped(refusal.message)
    assert "proxy:\nno upstream" in refusal.message


async def test_a_sidecar_that_keeps_exiting(gateway):
    refusal = await refusal_of(gateway, "crashing")
    assert refusal.reason == "Timeout"
    assert "The sidecar 'proxy'" in unwrapped(refusal.message)
    assert "with code 5." in unwrapped(refusal.message)
    assert "\nno certificate\nKernel 'crashing' (" in refusal.message


RESTARTS = "The kernel is being restarted, without its variables."
FILL_MEMORY = "print('filling', flush=True); x = [bytearray(10**6) for _ in range(10_000)]"
KILL_ALL = """
import contextlib, os, signal
print('killing', flush=True)
processes = {int(name) for name in os.listdir('/proc') if name.isdigit()}
for process in [*(processes - {os.getpid()}), os.getpid()]:
    with contextlib.suppress(PermissionError, ProcessLookupError):  # the pause container's, and threads'
        os.kill(process, signal.SIGKILL)
"""
# ipykernel shows the rest of its own standard output in the cell.
LAST_WORDS = """
import os, sys
os.write(sys.stdout._original_stdstream_copy, b'the last words\\n')
os._exit(7)
"""
BUSY = "import time; print('busy', flush=True); time.sleep(600)"


async def test_a_cell_that_needs_too_much_memory(gateway):
    async with gateway.kernel("small") as kernel:
        error = await error_at_death(kernel, FILL_MEMORY)
        cause = "The kernel needed more memory than its limit of 200Mi and was killed (OOMKilled)."
        assert error["ename"] == "KernelDied"
        assert error["evalue"].startswith(f"{cause} {RESTARTS}")
        model = (await gateway.kernels())[kernel.kernel_id]
        assert cause in model["reason"]


async def test_a_container_whose_processes_are_all_killed(gateway):
    """As with cgroup v2, where the kernel's launcher and its mailbox end as well."""
    async with gateway.kernel("exposed") as kernel:
        error = await error_at_death(kernel, KILL_ALL)
        cause = "The kernel exited with code 137. It was killed from outside"
        assert error["evalue"].startswith(cause)


async def test_a_cell_that_ends_its_kernel(gateway, chart, namespace):
    async with gateway.kernel() as kernel:
        error = await error_at_death(kernel, LAST_WORDS)
        assert error["evalue"] == f"The kernel exited with code 7. {RESTARTS}"
        assert error["traceback"][:2] == [error["evalue"], "The last lines of its log:"]
        assert "the last words" in error["traceback"]
        log = await namespace.run("logs", f"deployment/{chart.fullname}", "--tail=500")
        assert "the last words" not in log


async def pod_of(namespace, kernel_id):
    """Return the kernel's pod; one that it has been restarted from may still be terminating."""
    pods = await namespace.objects("pods", kernel_id)
    [pod] = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
    return pod


async def evict(kubectl, namespace, name):
    """As drains, the cluster autoscaler, Karpenter and deschedulers do."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace.name},
    }
    path = f"/api/v1/namespaces/{namespace.name}/pods/{name}/eviction"
    await kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


async def delete(_kubectl, namespace, name):
    await namespace.run("delete", "pod", name, "--wait=false")


async def delete_at_once(_kubectl, namespace, name):
    await namespace.run("delete", "pod", name, "--force", "--grace-period=0")


DELETED = "The kernel's pod was deleted by another client of the Kubernetes API."


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (evict, "The kernel's pod was evicted from its node through the Eviction API"),
        (delete, DELETED),
        (delete_at_once, DELETED),
    ],
)
async def test_a_running_kernel_whose_end_comes_from_outside(
    gateway, chart, kubectl, namespace, end, cause
):
    async with gateway.kernel() as kernel:
        assert (await kernel.execute("x = 1; print(x)")).text == "1\n"
        pod = await pod_of(namespace, kernel.kernel_id)
        assert pod["metadata"]["annotations"].items() >= ANNOTATIONS.items()
        name = pod["metadata"]["name"]
        error = await error_at_death(
            kernel, BUSY, when_running=lambda: end(kubectl, namespace, name)
        )
        assert error["evalue"].startswith(cause)
        assert RESTARTS in error["evalue"]

        async def is_restarted():
            model = (await gateway.kernels())[kernel.kernel_id]
            return model if "was restarted" in model.get("reason", "") else None

        model = await eventually(is_restarted)
        begin = "The kernel ended and was restarted, without its variables."
        assert model["reason"].startswith(f"{begin} {cause}")
        log = await namespace.run("logs", f"deployment/{chart.fullname}", "--tail=500")
        assert f"Kernel {kernel.kernel_id} in {name} has ended. {cause}" in log
        successor = await pod_of(namespace, kernel.kernel_id)
        assert successor["metadata"]["annotations"].items() >= ANNOTATIONS.items()
        await gateway.restart(kernel.kernel_id)
        assert "reason" not in (await gateway.kernels())[kernel.kernel_id]
        log = await namespace.run("logs", f"deployment/{chart.fullname}", "--tail=500")
        assert log.count(f"Kernel {kernel.kernel_id} in ") == 1


async def test_a_kernel_that_autoscalers_may_evict(gateway, namespace):
    async with gateway.kernel("movable") as kernel:
        annotations = (await pod_of(namespace, kernel.kernel_id))["metadata"]["annotations"]
        assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "true"
        assert "karpenter.sh/do-not-disrupt" not in annotations
