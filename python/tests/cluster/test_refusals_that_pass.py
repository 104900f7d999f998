"""Refusals of the API that pass: a start waits for them as long as it may take."""

import asyncio

import pytest

from ci.gateway_client import Refused
from timeouts import eventually

WEBHOOK = "unanswered.example.com"


@pytest.fixture
async def webhook(kubectl, namespace):
    """An admission webhook that no service answers, for pods of this namespace."""
    name = f"{namespace.name}.example.com"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}}
    await kubectl.apply(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [
                {
                    "name": WEBHOOK,
                    "clientConfig": {"service": {"name": "nowhere", "namespace": namespace.name}},
                    "rules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE"],
                            "resources": ["pods"],
                        }
                    ],
                    "namespaceSelector": selector,
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                    "failurePolicy": "Fail",
                }
            ],
        }
    )

    async def delete():
        await kubectl(
            "delete", "validatingwebhookconfigurations", name, "--ignore-not-found", "--wait=true"
        )

    yield delete
    await delete()


async def refused(chart, namespace):
    """Return whether the gateway has logged that a pod was refused."""
    name = (await chart.gateway_pods())[0]["metadata"]["name"]
    return "cannot create pod" in await namespace.run("logs", name)


async def test_a_start_waits_for_a_webhook(gateway, chart, namespace, webhook):
    start = asyncio.create_task(gateway.start())
    await eventually(lambda: refused(chart, namespace))
    await webhook()
    kernel_id = await start
    async with gateway.channels(kernel_id) as kernel:
        assert (await kernel.execute("print(1)")).text == "1\n"
    await gateway.delete(kernel_id)
    await namespace.wait_gone(kernel_id)


async def test_a_webhook_that_never_answers_is_named(gateway, chart, namespace, webhook):
    await chart.upgrade({"kernels": {"quick": {"image": chart.image, "launchTimeout": 10}}})
    with pytest.raises(Refused) as refusal:
        await gateway.start("quick")
    assert refusal.value.reason == "WebhookUnavailable"
    assert WEBHOOK in refusal.value.message
    await namespace.wait_no_kernels()
