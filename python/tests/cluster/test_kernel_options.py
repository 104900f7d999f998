"""Kernels with volumes, sizes, lifetimes and rules of their own, on a real cluster."""

import base64
import json

import aiohttp
import pytest
import pytest_asyncio

from ci.gateway_client import Refused
from gateway_provisioners.model.names import user_label
from message_words import unwrapped
from timeouts import eventually

USERS = ("alice", "Alice")
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>'
PHOTO = b"\x89PNG\r\n\x1a\n..."
ON_LINUX = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
                    ]
                }
            ]
        }
    }
}


def config_map(name, data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def values(image, name):
    return {
        "gateway": {
            "cull": {"interval": 1},
            "clientPolicy": {
                "maxCpus": "500m",
                "maxMemory": "512Mi",
                "maxGpus": 0,
                "chooseIds": True,
                "prohibitedGids": [0, "1-99"],
            },
        },
        "kernels": {
            "equipped": {
                "image": image,
                "displayName": "Equipped",
                "env": {"COLOUR": "blue", "FROM": "env"},
                "envFrom": [{"configMapRef": {"name": "warehouse"}}],
                "volumes": [
                    {"name": "notes", "configMap": {"name": "notes-{username}"}},
                    {"name": "scratch", "emptyDir": {"sizeLimit": "16Mi"}},
                ],
                "volumeMounts": [
                    {"name": "notes", "mountPath": "/notes", "readOnly": True},
                    {"name": "scratch", "mountPath": "/scratch", "subPath": "{username}"},
                ],
                "profiles": {
                    "small": {"resources": {"limits": {"memory": "300Mi", "cpu": "200m"}}}
                },
            },
            "r": {"enabled": True, "image": image},
            "scala": {"enabled": True, "image": image},
            "pictured": {
                "image": image,
                "language": "bash",
                "logo": {"configMap": "logos", "key": "picture.svg"},
                "profiles": {
                    "photo": {"logo": {"configMap": "logos", "key": "photo.png"}},
                    "absent": {"logo": {"configMap": "absent", "key": "picture.svg"}},
                    "none": {"logo": ""},
                },
            },
            "homely": {
                "image": image,
                "volumes": [
                    {"name": "home", "persistentVolumeClaim": {"claimName": "home-{username}"}}
                ],
                "volumeMounts": [{"name": "home", "mountPath": "/home/jovyan/work"}],
            },
            "placed": {
                "image": image,
                "runtimeClassName": name,
                "priorityClassName": name,
                "serviceAccountName": "data-kernels",
                "affinity": ON_LINUX,
            },
            "limited": {
                "image": image,
                "resources": {
                    "requests": {"cpu": "10m", "memory": "64Mi"},
                    "limits": {"cpu": "1500m", "memory": "512Mi"},
                },
                "profiles": {"threads": {"env": {"OMP_NUM_THREADS": "7"}}},
            },
            "idle": {"image": image, "idleTimeout": 1},
            "short": {"image": image, "maxLifetime": 15},
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(chart, namespace):
    logos = {
        **config_map("logos", {"picture.svg": PICTURE}),
        "binaryData": {"photo.png": base64.b64encode(PHOTO).decode()},
    }
    notes = [config_map(f"notes-{user_label(user)}", {"owner": user}) for user in USERS]
    await namespace.run(
        *("apply", "-f", "-"),
        stdin=json.dumps(
            {
                "apiVersion": "v1",
                "kind": "List",
                "items": [
                    *notes,
                    logos,
                    config_map("warehouse", {"HOST": "db.example", "FROM": "map"}),
                ],
            }
        ),
    )
    await chart.upgrade(values(chart.image, namespace.name))
    async with chart.gateway() as gateway:
        yield gateway


async def gone(gateway, kernel_id):
    async def is_gone():
        return kernel_id not in await gateway.kernels()

    await eventually(is_gone)


async def refused(gateway, name, **env):
    with pytest.raises(Refused) as caught:
        await gateway.start(name, **env)
    return caught.value


@pytest.mark.parametrize("user", USERS)
async def test_each_user_has_volumes_of_their_own(gateway, user):
    async with gateway.kernel("equipped", KERNEL_USERNAME=user) as kernel:
        code = (
            "import os, pathlib\n"
            "pathlib.Path('/scratch/x').write_text('written')\n"
            "print(pathlib.Path('/notes/owner').read_text(), *(os.environ[n] for n in"
            " ('COLOUR', 'FROM', 'HOST')))"
        )
        result = await kernel.execute(code)
        assert (result.status, result.text) == ("ok", f"{user} blue env db.example\n")


async def test_a_claim_is_looked_for_by_the_users_label(gateway, namespace):
    answer = await refused(gateway, "homely", KERNEL_USERNAME="../Bob")
    assert f'"home-{user_label("../Bob")}" not found' in unwrapped(answer.message)
    assert answer.reason == "Unschedulable"
    await namespace.wait_no_kernels()


@pytest_asyncio.fixture(loop_scope="session")
async def home_of_alice(kubectl, namespace):
    """A claim of hers, bound to a folder that every node has and that no kernel can write to."""
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace.name}-home"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Mi"},
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace.name, "name": "home-alice"},
            "hostPath": {"path": "/usr/share", "type": "Directory"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "home-alice", "namespace": namespace.name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "volumeName": volume["metadata"]["name"],
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }
    await kubectl.apply(volume, claim)
    try:
        yield
    finally:
        await namespace.run("delete", "pvc", "home-alice")
        await kubectl("delete", "pv", volume["metadata"]["name"])


async def test_a_claim_of_the_user_is_mounted(gateway, namespace, home_of_alice):
    code = "import os; print(os.path.ismount('/home/jovyan/work'))"
    async with gateway.kernel("homely", KERNEL_USERNAME="alice") as kernel:
        assert (await kernel.execute(code)).text == "True\n"
    await namespace.wait_gone(kernel.kernel_id)


@pytest_asyncio.fixture(loop_scope="session")
async def classes(kubectl, namespace):
    """A RuntimeClass and a PriorityClass of the namespace's name, and a ServiceAccount."""
    metadata = {"name": namespace.name}
    account = {"name": "data-kernels", "namespace": namespace.name}
    made = [
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "runc"},
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 7},
    ]
    await kubectl.apply(
        *({**each, "metadata": metadata} for each in made),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
    )
    try:
        yield
    finally:
        for each in made:
            await kubectl("delete", each["kind"].lower(), namespace.name)


async def test_a_kernel_runs_on_the_node_and_as_the_user_it_asks_for(gateway, namespace, classes):
    async with gateway.kernel("placed") as kernel:
        [pod] = await namespace.objects("pods", kernel.kernel_id)
        spec = pod["spec"]
        assert spec["runtimeClassName"] == spec["priorityClassName"] == namespace.name
        assert (spec["priority"], spec["serviceAccountName"]) == (7, "data-kernels")
        assert spec["affinity"] == ON_LINUX
        assert (await kernel.execute("print(6 * 7)")).text == "42\n"


async def test_a_profile_is_picked_as_a_kernel(gateway, namespace):
    specs = (await gateway.request("GET", "/api/kernelspecs"))["kernelspecs"]
    assert specs["equipped-small"]["spec"]["display_name"] == "Equipped (small)"
    async with gateway.kernel("equipped-small", KERNEL_USERNAME="alice") as kernel:
        [pod] = await namespace.objects("pods", kernel.kernel_id)
        [container] = pod["spec"]["containers"]
        assert container["resources"]["limits"] == {"memory": "300Mi", "cpu": "200m"}
        assert (await kernel.execute("print(open('/notes/owner').read())")).text == "alice\n"


async def test_kernels_of_the_chart_show_logos(gateway):
    specs = (await gateway.request("GET", "/api/kernelspecs"))["kernelspecs"]
    assert {name for name in specs if not specs[name]["resources"]} == {
        "pictured-absent",
        "pictured-none",
    }
    served = {}
    async with aiohttp.ClientSession(headers={"Authorization": f"token {gateway.token}"}) as http:
        for name, spec in specs.items():
            for path in spec["resources"].values():
                async with http.get(gateway.url + path) as response:
                    assert response.status == 200
                    assert response.headers["Content-Security-Policy"].startswith("sandbox;")
                    served[name] = (response.content_type, await response.read())
    assert served["pictured"] == ("image/svg+xml", PICTURE.encode())
    assert served["pictured-photo"] == ("image/png", PHOTO)
    languages = {name: served[name][1].decode() for name in ("python3", "r", "scala")}
    assert [name for name in languages if "<svg" in languages[name]] == [*languages]
    assert len({*languages.values()}) == 3
    assert served["equipped-small"] == served["python3"]


LIMITS = {"CPU_LIMIT": "1.5", "MEM_LIMIT": str(512 * 2**20), "OMP_NUM_THREADS": "2"}


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("limited", LIMITS),
        ("limited-threads", {**LIMITS, "OMP_NUM_THREADS": "7"}),
        ("python3", {}),
    ],
)
async def test_libraries_learn_the_limits_of_the_pod(gateway, name, limits):
    code = f"import json, os; print(json.dumps({{n: os.environ[n] for n in {[*LIMITS]} if n in os.environ}}))"
    async with gateway.kernel(name) as kernel:
        found = json.loads((await kernel.execute(code)).text)
        cpus = int((await kernel.execute("print(len(os.sched_getaffinity(0)))")).text)
    if name == "limited":  # on a node with a single CPU, one thread is enough
        limits = {**limits, "OMP_NUM_THREADS": str(min(2, cpus))}
    assert found == limits


async def test_requests_within_the_policy_are_granted(gateway, namespace):
    env = {"KERNEL_MEMORY": "0.25Gi", "KERNEL_CPUS": "0.05", "KERNEL_GID": "2000"}
    async with gateway.kernel("python3", **env) as kernel:
        [pod] = await namespace.objects("pods", kernel.kernel_id)
        [container] = pod["spec"]["containers"]
        assert container["resources"]["requests"] == {"memory": "256Mi", "cpu": "50m"}
        assert (await kernel.execute("import os; print(os.getgid())")).text == "2000\n"


@pytest.mark.parametrize(
    ("env", "status", "message"),
    [
        ({"KERNEL_MEMORY": "537M"}, 403, "at most 512Mi (max_memory)"),
        ({"KERNEL_CPUS_LIMIT": "1"}, 403, "at most 500m (max_cpus)"),
        ({"KERNEL_GPUS": "1"}, 403, "at most 0 (max_gpus)"),
        ({"KERNEL_GID": "99"}, 403, "prohibited ids: 0, 1-99 (prohibited_gids)"),
        ({"KERNEL_UID": "0"}, 403, "prohibited ids: 0 (prohibited_uids)"),
        ({"KERNEL_UID": "00"}, 400, "KERNEL_UID='00' is not a valid id"),
        ({"KERNEL_NAMESPACE": "default"}, 403, "KERNEL_NAMESPACE='default' is not allowed"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_forbidden_request_is_refused_with_the_rule(gateway, env, status, message):
    answer = await refused(gateway, "python3", **env)
    assert answer.status == status
    assert message in unwrapped(answer.message)


async def test_kernels_end_when_they_are_idle_or_old(gateway, chart, namespace):
    idle, short = await gateway.start("idle"), await gateway.start("short")
    async with gateway.channels(short) as kernel:
        await kernel.send(
            "shell", "execute_request", {"code": "import time; time.sleep(600)", "silent": False}
        )
        for kernel_id in (idle, short):
            await gone(gateway, kernel_id)
            await namespace.wait_gone(kernel_id)
    async with chart.probes() as probes:
        metrics = (await probes.request("GET", "/metrics")).splitlines()
    counted = "gateway_provisioners_kernels_culled_total"
    assert f'{counted}{{cause="idle",kernel="idle"}} 1.0' in metrics
    assert f'{counted}{{cause="lifetime",kernel="short"}} 1.0' in metrics


async def test_a_group_changes_without_a_restart(gateway, chart, namespace):
    async def is_listed():
        return "grouped" in (await gateway.request("GET", "/api/kernelspecs"))["kernelspecs"]

    async def why_not():
        try:
            await gateway.delete(await gateway.start("grouped", KERNEL_USERNAME="carol"))
        except Refused as refusal:
            return unwrapped(refusal.message)
        return ""

    async def may_start():
        return not await why_not()

    before = [pod["metadata"]["uid"] for pod in await chart.gateway_pods()]
    changed = values(chart.image, namespace.name)
    changed["kernels"]["grouped"] = {"image": chart.image, "authorizedGroups": ["analysts"]}
    await chart.upgrade({**changed, "userGroups": {"analysts": ["bob"]}})
    await eventually(is_listed)
    assert "only listed users and members of listed groups may" in await why_not()
    await chart.upgrade({**changed, "userGroups": {"analysts": ["bob", "carol"]}})
    await eventually(may_start)
    assert [pod["metadata"]["uid"] for pod in await chart.gateway_pods()] == before
