import io
import json
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.errors import InvalidRequest, PolicyViolation
from gateway_provisioners.model.container.config import (
    KernelContainerSpec,
    build_container,
    build_service,
    runs_as_root,
    secrets_archive,
)
from gateway_provisioners.model.container.secrets_script import command_with_file, file_content
from gateway_provisioners.model.container.volumes import client_mounts
from gateway_provisioners.model.names import pod_name
from gateway_provisioners.model.request.client_policy import ClientPolicy
from gateway_provisioners.model.request.launch_request import parse_launch_request

KERNEL_ID = "0f2f4c7e-6f9c-4f0e-8a55-1f6c4a5e0b11"
IMAGE = {"Config": {"Entrypoint": None, "Cmd": ["bootstrap-kernel.sh"], "User": "1000"}}
# All that an administrator can leave to clients.
GENEROUS = ClientPolicy(
    max_gpus="9", client_ids=True, client_claims=["data"], mirror_working_dirs=True
)
LOG_OPTIONS = {"max-size": "10485760", "max-file": "3"}
VARIABLES = [
    "KERNEL_USERNAME",
    "KERNEL_CPUS",
    "KERNEL_CPUS_LIMIT",
    "KERNEL_MEMORY",
    "KERNEL_MEMORY_LIMIT",
    "KERNEL_GPUS",
    "KERNEL_UID",
    "KERNEL_GID",
    "KERNEL_WORKING_DIR",
    "KERNEL_VOLUMES",
    "KERNEL_VOLUME_MOUNTS",
    "KERNEL_IMAGE",
    "KERNEL_POD_NAME",
    "KERNEL_ANYTHING",
    "PATH",
]
VALUES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
) | st.sampled_from(
    [
        *("1", "500m", "2Gi", "1e3", "/data", "0", "'; true '", "$(id)", '"', "a: b", "\n- x"),
        json.dumps([{"name": "a", "persistentVolumeClaim": {"claimName": "data"}}]),
        json.dumps([{"name": "a", "mountPath": "/x"}]),
        json.dumps([{"name": "a", "mountPath": "/x", "readOnly": True}]),
    ]
)


def a_spec(**changes):
    fields = {
        "name": f"ada-{KERNEL_ID}-1",
        "instance": "gateway",
        "kernel_id": KERNEL_ID,
        "kernel_name": "python",
        "username": "ada",
        "image": "acme/data-sci-py:2.0",
        "environment": {"KERNEL_ID": KERNEL_ID},
        "secret_environment": {"KERNEL_LAUNCH_KEY": "a2V5", "API_TOKEN": "s3cret"},
    }
    return KernelContainerSpec(**{**fields, **changes})


def spec_of(environment):
    """The container for a client's environment, or None if it is refused."""
    try:
        request = parse_launch_request(environment, admin_settings={}, policy=GENEROUS)
        mounts = client_mounts(request.volumes, request.volume_mounts)
    except (InvalidRequest, PolicyViolation):
        return None
    return a_spec(
        name=pod_name(request.username, KERNEL_ID, 1),
        username=request.username,
        secret_environment=request.environment,
        resources=request.resources,
        run_as_user=request.run_as_user,
        run_as_group=request.run_as_group,
        working_dir=request.working_dir,
        mounts=mounts,
    )


def test_the_whole_container():
    resources = {
        "limits": {
            "cpu": "1500m",
            "memory": "1Gi",
            "nvidia.com/gpu": "2",
            "ephemeral-storage": "10Gi",
        },
        "requests": {"cpu": "0.25", "memory": "512Mi"},
    }
    mount = {"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": True}
    spec = a_spec(
        resources=resources, mounts=[mount], working_dir="/data", network="kernels", attempt=2
    )
    built = build_container(spec, IMAGE, log_driver="json-file")
    assert built.pop("Cmd")[-1:] == ["bootstrap-kernel.sh"]
    assert built == {
        "Image": "acme/data-sci-py:2.0",
        "Labels": {
            "gateway-provisioners.instance": "gateway",
            "gateway-provisioners.name": f"ada-{KERNEL_ID}-1",
            "gateway-provisioners.kernel-name": "python",
            "gateway-provisioners.username": "ada",
            "gateway-provisioners.attempt": "2",
            "kernel_id": KERNEL_ID,
            "component": "kernel",
        },
        "Env": [f"KERNEL_ID={KERNEL_ID}"],
        "Entrypoint": ["/bin/sh"],
        "User": "1000:100",
        "WorkingDir": "/data",
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGTERM",
        "StopTimeout": 5,
        "HostConfig": {
            "NetworkMode": "kernels",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "RestartPolicy": {"Name": "no"},
            "Mounts": [mount],
            "NanoCpus": 1_500_000_000,
            "CpuShares": 256,
            "Memory": 2**30,
            "MemorySwap": 2**30,
            "MemoryReservation": 2**29,
            "DeviceRequests": [{"Count": 2, "Capabilities": [["gpu"]]}],
            "StorageOpt": {"size": "10737418240"},
            "PidsLimit": 4096,
            "LogConfig": {"Type": "json-file", "Config": LOG_OPTIONS},
        },
    }


def test_the_whole_service():
    resources = {
        "limits": {"cpu": "1500m", "memory": "1Gi", "nvidia.com/gpu": "2"},
        "requests": {"cpu": "0.25"},
    }
    mount = {"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": True}
    spec = a_spec(
        resources=resources,
        mounts=[mount],
        working_dir="/data",
        network="kernels",
        constraints=["node.labels.disk==ssd"],
    )
    built = build_service(spec, IMAGE, secret_id="abc", log_driver="json-file")
    container = built["TaskTemplate"]["ContainerSpec"]
    assert container.pop("Command")[3:] == [
        "/run/secrets/kernel-environment",
        "bootstrap-kernel.sh",
    ]
    assert container.pop("Labels") == built.pop("Labels") == build_container(spec, IMAGE)["Labels"]
    gpus = {"DiscreteResourceSpec": {"Kind": "NVIDIA-GPU", "Value": 2}}
    assert built == {
        "Name": f"ada-{KERNEL_ID}-1",
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "acme/data-sci-py:2.0",
                "Env": [f"KERNEL_ID={KERNEL_ID}"],
                "Mounts": [mount],
                "Secrets": [
                    {
                        "SecretID": "abc",
                        "SecretName": f"ada-{KERNEL_ID}-1",
                        "File": {
                            "Name": "kernel-environment",
                            "UID": "0",
                            "GID": "0",
                            "Mode": 0o444,
                        },
                    }
                ],
                "Healthcheck": {"Test": ["NONE"]},
                "CapabilityDrop": ["ALL"],
                "StopSignal": "SIGTERM",
                "StopGracePeriod": 5 * 10**9,
                "User": "1000:100",
                "Dir": "/data",
            },
            "Resources": {
                "Limits": {"NanoCPUs": 1_500_000_000, "MemoryBytes": 2**30, "Pids": 4096},
                "Reservations": {"NanoCPUs": 250_000_000, "GenericResources": [gpus]},
            },
            "RestartPolicy": {"Condition": "none"},
            "Placement": {"Constraints": ["node.labels.disk==ssd"]},
            "Networks": [{"Target": "kernels"}],
            "LogDriver": {"Name": "json-file", "Options": LOG_OPTIONS},
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def test_a_service_whose_image_is_on_other_nodes_starts_as_all_kernels_do():
    container = build_service(a_spec(), {}, secret_id="abc")["TaskTemplate"]["ContainerSpec"]
    assert container["Command"][-1] == "/usr/local/bin/bootstrap-kernel.sh"


def test_the_engine_shows_nothing_secret():
    assert "s3cret" not in json.dumps(build_container(a_spec(), IMAGE))
    assert "s3cret" not in json.dumps(build_service(a_spec(), IMAGE, secret_id="abc"))


def test_the_file_holds_secrets_and_no_settings_of_the_kernelspec():
    secret = {"KERNEL_ID": "another", "API_TOKEN": "s3cret", "UID": "7"}
    spec = a_spec(secret_environment=secret)
    with tarfile.open(fileobj=io.BytesIO(secrets_archive(spec))) as tar:
        folder, file = tar.getmembers()
        content = tar.extractfile(file).read()
    assert (folder.name, folder.mode) == (".gateway-provisioners", 0o777)
    assert (file.name, file.mode) == (".gateway-provisioners/environment", 0o444)
    assert content == b"API_TOKEN=s3cret\n"
    # Two headers, the content, and the end, without padding.
    assert len(secrets_archive(spec)) == 5 * tarfile.BLOCKSIZE
    # No shell allows to assign to this one.
    assert build_container(spec, IMAGE)["Env"] == ["UID=7", f"KERNEL_ID={KERNEL_ID}"]


def test_an_administrators_patch_comes_last():
    patch = {"HostConfig": {"ReadonlyRootfs": True, "CapDrop": None}}
    host = build_container(a_spec(patch=patch), IMAGE)["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert "CapDrop" not in host
    assert host["SecurityOpt"] == ["no-new-privileges"]


@pytest.mark.parametrize(
    ("user", "images", "root"),
    [
        (1000, "root", False),
        (0, "1000", True),
        (None, "", True),
        (None, "root", True),
        (None, "0:100", True),
        (None, "00", True),
        (None, "1000:0", False),
        (None, "9" * 5000, False),
        (None, "jovyan", False),
    ],
)
def test_who_is_root(user, images, root):
    assert runs_as_root(a_spec(run_as_user=user), {"Config": {"User": images}}) is root


def test_ids_are_the_kernelspecs_or_the_images():
    def user(**ids):
        return build_container(a_spec(**ids), IMAGE).get("User")

    assert user(run_as_user=7, run_as_group=8) == "7:8"
    assert user(run_as_user=7, run_as_group=None) == "7"
    assert user(run_as_user=None, run_as_group=8) == "1000:8"
    assert user(run_as_user=None, run_as_group=None) is None


@given(st.dictionaries(st.sampled_from(VARIABLES), VALUES))
def test_values_of_clients_never_become_structure(environment):
    """Each field is as without the client, or holds the one checked value that belongs there."""
    spec = spec_of(environment)
    if spec is None:
        return
    built = build_container(spec, IMAGE)
    plain = build_container(a_spec(run_as_user=None, run_as_group=None), IMAGE)
    host, plain_host = built.pop("HostConfig"), plain.pop("HostConfig")
    assert set(built) - set(plain) <= {"User", "WorkingDir"}
    assert built.get("User", "1000:1").replace(":", "").isdecimal()
    assert built.get("WorkingDir", "/").startswith("/")
    labels, plain_labels = built.pop("Labels"), plain.pop("Labels")
    assert labels.keys() == plain_labels.keys()
    assert {key for key in labels if labels[key] != plain_labels[key]} <= {
        "gateway-provisioners.name",
        "gateway-provisioners.username",
    }
    assert {key: built[key] for key in plain} == plain
    for mount in host.pop("Mounts"):
        assert (mount["Type"], mount["Source"]) == ("volume", "data")
    amounts = {"NanoCpus", "CpuShares", "Memory", "MemorySwap", "MemoryReservation"}
    for name in amounts & set(host):
        assert type(host.pop(name)) is int
    for request in host.pop("DeviceRequests", []):
        assert type(request.pop("Count")) is int
        assert request == {"Capabilities": [["gpu"]]}
    plain_host.pop("Mounts")
    assert host == plain_host


@given(st.dictionaries(st.from_regex(r"GP_[A-Z]{1,3}", fullmatch=True), VALUES, max_size=3))
def test_a_value_in_the_file_reaches_the_command_as_it_is(variables):
    names = sorted(variables)
    # What `env --null` gives, of these names alone.
    show = ["/bin/sh", "-c", 'for name; do eval "printf \'%s\\\\0\' \\"\\${$name}\\""; done', "sh"]
    with_file = command_with_file("/dev/stdin", [*show, *names])
    # Everything as in the container but the removal of the file.
    done = subprocess.run(
        [part.replace('rm -f "$0" 2>/dev/null; ', "") for part in with_file],
        input=file_content(variables),
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.decode().split("\0")[:-1] == [variables[name] for name in names]
