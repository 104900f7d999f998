"""Every cause of a failed launch, provoked for real: the client gets the reason, and nothing remains."""

import pytest

from ci.gateway_client import Refused
from message_words import unwrapped


@pytest.fixture(autouse=True)
async def nothing_remains(namespace, gateway):
    yield
    await namespace.wait_no_kernels()


async def refusal_of(gateway, name, **env):
    with pytest.raises(Refused) as refusal:
        await gateway.start(name, **env)
    return refusal.value


async def test_an_image_that_does_not_exist(gateway, chart):
    """Its registry may be out of reach, which can pass."""
    await chart.upgrade({"kernels": {"nowhere": {"image": "acme/nowhere:1", "launchTimeout": 20}}})
    refusal = await refusal_of(gateway, "nowhere")
    assert refusal.reason == "ImagePull"
    assert "acme/nowhere:1" in refusal.message


async def test_more_cpus_than_any_node_has(gateway):
    refusal = await refusal_of(gateway, "python3", KERNEL_CPUS="64")
    assert refusal.reason == "Unschedulable"
    assert "Insufficient cpu" in unwrapped(refusal.message)
    assert "64" in refusal.message


async def test_a_command_that_is_not_there(gateway, chart):
    template = {
        "spec": {
            "containers": [
                {"name": "kernel", "command": ["bash", "-c", "echo lost; exec nothing-here"]}
            ]
        }
    }
    await chart.upgrade({"kernels": {"lost": {"image": chart.image, "podTemplate": template}}})
    refusal = await refusal_of(gateway, "lost")
    assert refusal.reason == "ContainerExited"
    assert "code 127" in unwrapped(refusal.message)
    assert "nothing-here: not found" in unwrapped(refusal.message)


async def test_a_container_that_cannot_be_started(gateway, chart):
    template = {"spec": {"containers": [{"name": "kernel", "command": ["/no/such/program"]}]}}
    await chart.upgrade(
        {"kernels": {"unrunnable": {"image": chart.image, "podTemplate": template}}}
    )
    refusal = await refusal_of(gateway, "unrunnable")
    assert refusal.reason == "ContainerCannotRun"
    assert "/no/such/program" in refusal.message


async def test_too_little_memory(gateway, chart):
    resources = {"limits": {"memory": "24Mi"}}
    await chart.upgrade({"kernels": {"tiny": {"image": chart.image, "resources": resources}}})
    refusal = await refusal_of(gateway, "tiny")
    assert refusal.reason == "OOMKilled"
    assert "memory" in refusal.message


async def test_a_missing_volume(gateway, chart):
    template = {
        "spec": {
            "volumes": [{"name": "data", "configMap": {"name": "not-there"}}],
            "containers": [
                {"name": "kernel", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
            ],
        }
    }
    await chart.upgrade(
        {"kernels": {"voluminous": {"image": chart.image, "podTemplate": template}}}
    )
    refusal = await refusal_of(gateway, "voluminous")
    assert refusal.reason == "VolumeMissing"
    assert "not-there" in refusal.message


async def test_a_missing_claim(gateway, chart):
    template = {
        "spec": {
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "missing"}}],
            "containers": [
                {"name": "kernel", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
            ],
        }
    }
    await chart.upgrade({"kernels": {"unclaimed": {"image": chart.image, "podTemplate": template}}})
    refusal = await refusal_of(gateway, "unclaimed")
    assert refusal.reason == "Unschedulable"
    assert "missing" in refusal.message


async def test_an_exceeded_quota(gateway, namespace):
    async with namespace.quota({"pods": "1"}):
        refusal = await refusal_of(gateway, "python3")
    assert refusal.reason == "QuotaExceeded"
    assert "exceeded quota" in unwrapped(refusal.message)


async def test_a_pod_that_the_namespace_forbids(gateway, chart):
    await chart.upgrade(
        {
            "kernels": {
                "privileged": {"image": chart.image, "podTemplate": {"spec": {"hostPID": True}}}
            }
        }
    )
    refusal = await refusal_of(gateway, "privileged")
    assert refusal.reason == "PodSecurity"


async def test_a_gateway_without_permission(gateway, namespace):
    async with namespace.without_role():
        refusal = await refusal_of(gateway, "python3")
    assert refusal.reason == "Forbidden"


async def test_required_encryption_that_the_image_cannot_do(gateway, chart, namespace):
    # The image's ipykernel is made to be one that cannot encrypt; everything else is the image's own.
    older = "import ipykernel._version\nipykernel._version.version_info = (7, 2, 0)\n"
    await namespace.run("create", "configmap", "older", f"--from-literal=sitecustomize.py={older}")
    template = {
        "spec": {
            "volumes": [{"name": "older", "configMap": {"name": "older"}}],
            "containers": [
                {
                    "name": "kernel",
                    "env": [{"name": "PYTHONPATH", "value": "/older"}],
                    "volumeMounts": [{"name": "older", "mountPath": "/older"}],
                }
            ],
        }
    }
    kernel = {"image": chart.image, "podTemplate": template}
    await chart.upgrade(
        {"kernels": {"plain": {**kernel, "transportEncryption": "required"}, "auto": kernel}}
    )
    refusal = await refusal_of(gateway, "plain")
    assert refusal.reason == "ContainerExited"
    assert "code 78" in unwrapped(refusal.message)
    assert "ipykernel 7.3" in unwrapped(refusal.message)
    async with gateway.kernel("auto") as kernel:
        assert (await kernel.execute("print('in clear')")).text == "in clear\n"


async def test_a_launcher_that_never_reports(gateway, chart):
    template = {"spec": {"containers": [{"name": "kernel", "command": ["sleep", "600"]}]}}
    await chart.upgrade(
        {
            "kernels": {
                "silent": {"image": chart.image, "launchTimeout": 20, "podTemplate": template}
            }
        }
    )
    refusal = await refusal_of(gateway, "silent")
    assert refusal.reason == "Timeout"
    assert "20 seconds" in unwrapped(refusal.message)
    assert "launcher" in refusal.message


async def test_a_kernel_that_breaks_on_import(gateway, chart):
    await chart.upgrade(
        {"kernels": {"broken": {"image": chart.image, "kernelClassName": "no.such.Kernel"}}}
    )
    refusal = await refusal_of(gateway, "broken")
    assert refusal.reason == "ContainerExited"
    assert "no.such" in refusal.message
