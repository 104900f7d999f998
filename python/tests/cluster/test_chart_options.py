"""An operator's choices, in one release: a namespace for kernels, TLS, kernelspecs, image pullers."""

import asyncio
import contextlib
import json
import re
import ssl
import uuid

import pyhelm3.errors
import pytest
import pytest_asyncio
from kubectl import Namespace

from api.certificates import write_certificate
from ci import images
from timeouts import TIMEOUT_SECONDS

SPECS = "/usr/local/share/jupyter/kernels"
PULLER = "app.kubernetes.io/component=image-puller"
AWAITER = "gateway-gateway-provisioners-hook-image-awaiter"
ORIGIN = "https://lab.example.com"
LABEL = {"cost-center": "4711"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kernels(kubectl, namespace):
    """The namespace for kernels."""
    kernels = Namespace(kubectl, f"{namespace.name}-kernels")
    await kernels.create()
    yield kernels
    await kernels.delete()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def certificate(namespace, tmp_path_factory):
    """A TLS context that trusts the certificate in the Secret `certificate`."""
    folder = tmp_path_factory.mktemp("tls")
    write_certificate(folder, "gateway.example.com")
    files = (f"--cert={folder / 'tls.crt'}", f"--key={folder / 'tls.key'}")
    await namespace.run("create", "secret", "tls", "certificate", *files)
    return ssl.create_default_context(cafile=folder / "tls.crt")


def specs_pod(name, command, folder):
    """A pod of the gateway's image with the volume of kernelspecs, which its node's /tmp is."""
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": name,
                    "image": images.GATEWAY.reference,
                    "command": ["sh", "-euxc", command],
                    "env": [{"name": "FOLDER", "value": f"/volume/{folder}"}],
                    "securityContext": restricted,
                    "volumeMounts": [{"name": "volume", "mountPath": "/volume"}],
                }
            ],
            "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": "kernelspecs"}}],
        },
    }


async def run_pod(namespace, manifest):
    """Run a pod to its end."""
    name = manifest["metadata"]["name"]
    await namespace.run("apply", "-f", "-", stdin=json.dumps(manifest))
    done = "--for=jsonpath={.status.phase}=Succeeded"
    await namespace.run("wait", done, f"pod/{name}", f"--timeout={TIMEOUT_SECONDS}s")
    await namespace.run("delete", "pod", name)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kernelspecs(kubectl, namespace):
    """A folder of the claim `kernelspecs`, with a kernelspec by `jupyter k8s-spec install`."""
    name = f"gp-test-{uuid.uuid4().hex[:8]}"
    size = {"storage": "1Mi"}
    volume = {"capacity": size, "accessModes": ["ReadWriteMany"], "hostPath": {"path": "/tmp"}}
    claim = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": name}
    await kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {**volume, "persistentVolumeReclaimPolicy": "Retain"},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "kernelspecs", "namespace": namespace.name},
            "spec": {**claim, "resources": {"requests": size}},
        },
    )
    install = (
        "mkdir $FOLDER; cd $FOLDER; "
        f"jupyter k8s-spec install --image-name {images.KERNEL_PY.reference} "
        "--kernel-name from_volume --prefix $FOLDER; "
        "mv share/jupyter/kernels/from_volume .; rm -r share"
    )
    await run_pod(namespace, specs_pod("write", install, name))
    yield name
    await run_pod(namespace, specs_pod("remove", "rm -r $FOLDER", name))
    await namespace.run("delete", "persistentvolumeclaim", "kernelspecs")
    await kubectl("delete", "persistentvolume", name)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def before(namespace, kernels, certificate, kernelspecs):
    """The objects in both namespaces without the release."""
    return await everything(namespace), await everything(kernels)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chart(new_chart, namespace, kernels, certificate, kernelspecs, before):
    chart = new_chart(namespace)
    chart.ssl = certificate
    await chart.install(
        {
            "kernelNamespace": kernels.name,
            "kernelspecs": {"existingClaim": "kernelspecs", "subPath": kernelspecs},
            "imagePuller": {"continuous": {"enabled": True}, "hook": {"enabled": True}},
            "resourceQuota": {"pods": 10},
            "commonLabels": LABEL,
            "gateway": {
                "replicas": 2,
                "logLevel": "DEBUG",
                "tls": {"existingSecret": "certificate"},
                "cors": {"allowedOrigins": [ORIGIN]},
                "extraConfig": {"headers": f"c.GatewayApp.expose_headers = {ORIGIN!r}"},
            },
        }
    )
    yield chart
    with contextlib.suppress(pyhelm3.errors.ReleaseNotFoundError):
        await chart.uninstall()


async def everything(namespace):
    """Kind and name of all that a release or its kernels could leave behind."""
    workload = "pods,services,deployments,daemonsets,jobs,poddisruptionbudgets,resourcequotas"
    rights = "serviceaccounts,roles,rolebindings,networkpolicies"
    found = await namespace.run(
        "get", f"{workload},{rights},configmaps,secrets,leases", "-o", "name"
    )
    return set(found.split())


async def result_of(gateway, kernel_id, code):
    async with gateway.channels(kernel_id) as kernel:
        return (await kernel.execute(code)).text.strip()


@pytest.mark.parametrize("name", ["python3", "from_volume"])
async def test_kernels_run_in_their_own_namespace(gateway, namespace, kernels, name):
    async with gateway.kernel(name) as kernel:
        assert (await kernel.execute("print(6 * 7)")).text.strip() == "42"
        [pod] = await kernels.objects("pods", kernel.kernel_id)
        assert pod["metadata"]["ownerReferences"][0]["kind"] == "ConfigMap"
        assert await namespace.names("pods,secrets", kernel.kernel_id) == []
    await kernels.wait_gone(kernel.kernel_id)


async def test_the_gateway_reads_secrets_of_kernels_and_none_of_its_own(chart, namespace, kernels):
    account = f"system:serviceaccount:{namespace.name}:{chart.fullname}-gateway"
    asked = ("auth", "can-i", "get", "secrets", f"--as={account}")
    assert (await kernels.run(*asked)).strip() == "yes"
    with pytest.raises(RuntimeError):  # its exit code says no
        await namespace.run(*asked)


async def test_configuration_and_origins_reach_the_gateway(gateway):
    async with (
        gateway.forwarded(),
        gateway._session.options(
            f"{gateway.url}/api/kernels", headers={"Origin": ORIGIN}
        ) as answer,
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Expose-Headers"] == ORIGIN


async def test_nodes_have_the_images_and_the_hook_left_nothing(chart, namespace, kernels):
    await kernels.run("rollout", "status", "daemonset", "-l", PULLER, "--timeout=60s")
    [pod] = json.loads(await kernels.run("get", "pods", "-l", PULLER, "-o", "json"))["items"]
    states = [status["state"] for status in pod["status"]["initContainerStatuses"]]
    assert all(state["terminated"]["exitCode"] == 0 for state in states)
    left = await everything(namespace) | await everything(kernels)
    assert not [name for name in left if "hook" in name]


async def test_kernels_are_taken_over_by_the_next_gateways(chart, namespace, kernels):
    async with chart.gateway() as gateway:
        kernel_id = await gateway.start()
        await result_of(gateway, kernel_id, "answer = 42")
    before = {pod["metadata"]["uid"] for pod in await chart.gateway_pods()}
    await namespace.run("rollout", "restart", f"deployment/{chart.fullname}")
    async with chart.gateways() as gateways:
        assert before.isdisjoint({pod["metadata"]["uid"] for pod in await chart.gateway_pods()})
        for gateway in gateways:
            assert await result_of(gateway, kernel_id, "print(answer)") == "42"


async def test_an_upgrade_with_an_image_that_cannot_be_had_changes_nothing(chart, namespace):
    image = "127.0.0.1:1/none:1"  # nothing listens there
    broken = {
        "kernels": {"broken": {"image": image}},
        "imagePuller": {"hook": {"timeout": 10}},
    }
    # Helm 4 notices that the Job failed when its own time is over.
    with pytest.raises(pyhelm3.errors.Error):
        await chart.upgrade(broken, timeout=15)
    log = await namespace.run("logs", f"job/{AWAITER}")
    assert "Not all nodes have the images after 10 s." in log
    assert re.search(f"The image cannot be pulled .*'{image}'", log)
    async with chart.gateway() as gateway:
        assert "broken" not in (await gateway.request("GET", "/api/kernelspecs"))["kernelspecs"]


async def test_kernelspecs_of_an_image_take_the_place_of_the_volumes(chart):
    async with chart.gateway() as gateway, gateway.kernel("python3") as kernel:
        prefix = (await kernel.execute("import sys; print(sys.prefix)")).text.strip()
    # ipykernel's own: what a kernel image has of kernelspecs.
    theirs = {"image": images.KERNEL_PY.reference, "imagePath": f"{prefix}/share/jupyter/kernels"}
    await chart.upgrade(
        {
            "kernelspecs": {"existingClaim": "", "subPath": "", **theirs},
            "kernels": {"python3": {"enabled": False}, "ours": {"image": chart.image}},
        }
    )
    async with chart.gateway() as gateway:
        specs = (await gateway.request("GET", "/api/kernelspecs"))["kernelspecs"]
        assert specs.keys() == {"python3", "ours"}
        assert "ipykernel_launcher" in specs["python3"]["spec"]["argv"]


async def test_removal_takes_kernels_along_and_leaves_nothing(chart, namespace, kernels, before):
    async with chart.gateway() as gateway:
        await gateway.start("ours")
    await chart.uninstall()
    await kernels.wait_no_kernels()
    gone = ("--for=delete", f"--timeout={TIMEOUT_SECONDS}s")
    labels = "app.kubernetes.io/instance=gateway"
    await asyncio.gather(
        namespace.run("wait", *gone, "pods", "-l", labels),
        kernels.run("wait", *gone, "pods", "-l", labels),
        kernels.run("wait", *gone, f"lease/{chart.fullname}-leader"),
    )
    assert (await everything(namespace), await everything(kernels)) == before
