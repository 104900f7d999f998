import pytest

from gateway_provisioners.model.container.status import (
    addresses,
    end_cause,
    exit_code,
    is_podman,
    progress,
    refusal,
    reports_oom,
    start_failure,
    with_likely_oom,
    would_be_ignored,
)

RUNNING = {"State": {"Status": "running", "ExitCode": 0}}


def ended(code=0, **state):
    return {"State": {"Status": "exited", "ExitCode": code, **state}}


def test_only_a_container_that_has_ended_has_an_exit_code():
    assert exit_code({}) is None
    assert exit_code(RUNNING) is None
    assert exit_code({"State": {"Status": "paused", "ExitCode": 0}}) is None
    assert exit_code(ended(3)) == 3
    assert exit_code(ended(0)) == 0
    assert exit_code({"State": {"Status": "stopped", "ExitCode": 3}}) == 3  # podman's, for a moment


def test_start_failures_of_containers():
    assert start_failure(RUNNING) is None
    failure = start_failure(ended(127))
    assert (failure.reason, failure.container_ran) == ("ContainerExited", True)
    assert "code 127" in failure.message
    assert "lacks bootstrap-kernel.sh" in failure.message
    assert start_failure(ended(137, OOMKilled=True)).reason == "OOMKilled"


def test_the_cause_of_an_end():
    assert end_cause(ended(1)) is None
    assert "OOMKilled" in end_cause(ended(137, OOMKilled=True))


@pytest.mark.parametrize(
    ("info", "podman", "reports"),
    [
        ({"ServerVersion": "20.10.24+dfsg1"}, False, True),
        ({"ServerVersion": "4.3.1", "BuildahVersion": "1.28.2"}, True, False),
        ({"ServerVersion": "5.0.0", "BuildahVersion": "1.35.0"}, True, True),
        ({"ServerVersion": "main", "BuildahVersion": "1.35.0"}, True, True),
        ({"ServerVersion": "9" * 5000, "BuildahVersion": "1.35.0"}, True, True),
    ],
)
def test_old_podman_does_not_report_oom(info, podman, reports):
    assert is_podman(info) is podman
    assert reports_oom(info) is reports


def test_killed_with_memory_limit_counts_as_oom_on_old_podman():
    def seen(container, limit):
        return with_likely_oom({**container, "HostConfig": {"Memory": limit}})

    limit = 24 * 2**20
    killed = start_failure(seen(ended(137, OOMKilled=False), limit))
    assert killed.reason == "OOMKilled"
    assert "its limit of 24Mi and was killed" in killed.message
    assert start_failure(seen(ended(137, OOMKilled=False), 0)).reason == "ContainerExited"
    assert start_failure(seen(ended(1, OOMKilled=False), limit)).reason == "ContainerExited"
    assert start_failure(seen(RUNNING, limit)) is None
    assert start_failure(with_likely_oom(ended(137))).reason == "ContainerExited"


def test_podman_would_ignore_a_gpu():
    podman = {"BuildahVersion": "1.28.2"}
    gpu = {"HostConfig": {"DeviceRequests": [{"Count": 1, "Capabilities": [["gpu"]]}]}}
    assert would_be_ignored(gpu, podman).reason == "ContainerCannotRun"
    assert would_be_ignored(gpu, {}) is None
    assert would_be_ignored({"HostConfig": {}}, podman) is None
    other = {"HostConfig": {"DeviceRequests": [{"Driver": "cdi"}]}}
    assert would_be_ignored(other, podman) is None


def test_an_engine_that_cannot_limit_storage_is_refused_in_words():
    limited = {"HostConfig": {"StorageOpt": {"size": "1073741824"}}}
    snapshotter = {"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}
    overlay = {"DriverStatus": [["Backing Filesystem", "xfs"]]}
    assert would_be_ignored(limited, overlay) is None
    assert would_be_ignored({"HostConfig": {}}, snapshotter) is None
    message = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
    for failure in (
        would_be_ignored(limited, snapshotter),
        refusal(500, message, image="a/b:1", network="bridge"),
    ):
        assert failure.reason == "ContainerCannotRun"
        assert "The engine cannot limit the kernel's storage: " in failure.message
        assert "Remove ephemeral-storage" in failure.message


def test_progress():
    assert "has not reported" in progress(RUNNING).message
    assert (
        progress({"State": {"Status": "created"}}).message
        == "The kernel's container is still created."
    )


def test_addresses_are_known_once_a_network_has_one():
    def on(*ips):
        networks = {str(at): {"IPAddress": ip} for at, ip in enumerate(ips)}
        return {"NetworkSettings": {"Networks": networks}}

    assert addresses({}) == []
    assert addresses(on("")) == []
    assert addresses(on("", "10.1.2.3")) == ["10.1.2.3"]
    dual = {"IPAddress": "10.1.2.3", "GlobalIPv6Address": "fd00::3"}
    assert addresses({"NetworkSettings": {"Networks": {"kernels": dual}}}) == [
        "10.1.2.3",
        "fd00::3",
    ]


def test_the_address_on_the_network_that_is_named_comes_first():
    networks = {"audit": {"IPAddress": "10.9.0.3"}, "kernels": {"IPAddress": "10.1.2.3"}}
    container = {
        "HostConfig": {"NetworkMode": "kernels"},
        "NetworkSettings": {"Networks": networks},
    }
    assert addresses(container) == ["10.1.2.3", "10.9.0.3"]


def test_a_container_on_the_hosts_network_has_no_address_of_its_own():
    networks = {"host": {"IPAddress": ""}}
    assert addresses({"NetworkSettings": {"Networks": networks}}) == [""]


@pytest.mark.parametrize(
    ("status", "message", "reason", "words"),
    [
        (0, "The Docker engine does not answer in time.", "Engine", "Try again soon"),
        (404, "No such image: acme/x:1", "ImagePull", "acme/x:1"),
        (404, "pull access denied for acme/x", "ImagePull", "acme/x:1"),
        (404, "manifest unknown", "ImagePull", "acme/x:1"),
        (404, "network kernels not found", "NetworkMissing", "GP_DOCKER_NETWORK"),
        (503, "This node is not a swarm manager", "NoSwarm", "docker swarm init"),
        (400, "invalid mount config for type", "VolumeMissing", "invalid mount config for type."),
        (500, "OCI runtime create failed", "ContainerCannotRun", "OCI runtime create failed"),
    ],
)
def test_refusals_of_the_engine(status, message, reason, words):
    failure = refusal(status, message, image="acme/x:1", network="kernels")
    assert failure.reason == reason
    assert words in failure.message
