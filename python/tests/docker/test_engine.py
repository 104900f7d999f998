"""The engine that the tests run on: its networks, and the removal of one of our own."""

import socket
import subprocess
import uuid
from pathlib import Path

import pytest

from ci import docker_engine, images
from ci.builders import Docker
from ci.commands import CommandError, UserError, run
from ci.dockerd import Dockerd
from ci.podman_service import PodmanService

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).recv(1)"


@pytest.fixture
def container(engine):
    """A function that starts a container with a Python program and gives its name."""
    names = []

    def start(*arguments, network="bridge"):
        names.append(f"gp-test-{uuid.uuid4().hex[:8]}")
        options = ["--detach", "--name", names[-1], "--network", network]
        engine.cli("run", *options, images.KERNEL_PY.reference, "python3", "-c", *arguments)
        return names[-1]

    yield start
    for name in names:
        engine.cli("rm", "--force", name)


def address(engine, name):
    return engine.cli("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name).strip()


def test_a_container_reaches_this_machine_under_its_own_address(engine, container):
    with socket.create_server((engine.host_address, 0)) as server:
        server.settimeout(30)
        name = container(CONNECT, engine.host_address, str(server.getsockname()[1]))
        connection, (source, _) = server.accept()
        with connection:
            assert source == address(engine, name)


def test_this_machine_reaches_a_container(engine, container):
    program = (
        "import socket; server = socket.create_server(('', 9000));"
        "print('ready', flush=True); server.accept()[0].send(b'!')"
    )
    name = container(program)
    argv = ["docker", f"--host={engine.host}", "logs", "--follow", name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as logs:
        assert logs.stdout.readline() == "ready\n"
        with socket.create_connection((address(engine, name), 9000), 30) as connection:
            assert connection.recv(1) == b"!"


def test_a_swarm_task_reaches_this_machine_under_its_own_address(engine, swarm_network):
    name = f"gp-test-{uuid.uuid4().hex[:8]}"
    with socket.create_server((engine.host_address, 0)) as server:
        server.settimeout(60)
        options = ["--detach", "--no-resolve-image", "--restart-condition=none", "--name", name]
        program = ["python3", "-c", CONNECT, engine.host_address, str(server.getsockname()[1])]
        engine.cli(
            *("service", "create", *options, "--network", swarm_network),
            *(images.KERNEL_PY.reference, *program),
        )
        try:
            connection, (source, _) = server.accept()
            with connection:
                filters = f"--filter=label=com.docker.swarm.service.name={name}"
                [task] = engine.cli("ps", "--quiet", filters).split()
                place = f'{{{{(index .NetworkSettings.Networks "{swarm_network}").IPAddress}}}}'
                assert engine.cli("inspect", "--format", place, task).strip() == source
        finally:
            engine.cli("service", "rm", name)


@pytest.mark.parametrize("kind", [Dockerd, PodmanService])
def test_an_engine_of_our_own_comes_and_goes_and_leaves_nothing(kind):
    name = f"gp-test-{uuid.uuid4().hex[:8]}"
    own = kind(name)
    [archive] = (built.archive for built in images.ensure([images.KERNEL_PY.reference]))
    try:
        own.up()
        own.up()  # nothing to do
        cli = Docker(own.host).cli
        assert cli("image", "ls", "--quiet") == ""  # those of others are not its own
        cli("load", "--quiet", "--input", archive)
        container = cli("run", "--detach", images.KERNEL_PY.reference, "sleep", "600").strip()
        assert list(Path("/sys/fs/cgroup").rglob(f"*{container}"))
        link = f"gpe{own.addresses.slot}host"
        assert Path(f"/sys/class/net/{link}").exists()
    finally:
        own.down()
    assert not own.answers()
    left = [
        *Path("/sys/fs/cgroup").glob(f"*/{name}"),
        *Path("/sys/fs/cgroup").rglob(f"*{container}"),
        *Path("/run/netns").glob(name),
        *Path("/sys/class/net").glob(link),
        *Path(own.folder.parent).glob(f"{name}*"),
    ]
    assert left == []
    assert name not in Path("/proc/self/mounts").read_text()
    processes = [path for path in Path("/proc").glob("[0-9]*/cmdline") if name in _text(path)]
    assert processes == []


@pytest.mark.parametrize("kind", [Dockerd, PodmanService])
def test_an_engine_that_does_not_start_says_why(kind, monkeypatch):
    own = kind(f"gp-test-{uuid.uuid4().hex[:8]}")
    monkeypatch.setattr(kind, "init", 'echo "no $0 today"; exit 3')
    try:
        with pytest.raises(CommandError, match=f"no {own.name} today"):
            own.up()
    finally:
        own.down()


def test_up_after_an_interrupted_removal_begins_from_nothing():
    own = Dockerd(f"gp-test-{uuid.uuid4().hex[:8]}")
    try:
        own.up()
        Docker(own.host).cli("network", "create", "of-the-first")
        [stuck] = own.folder.rglob("local-kv.db")  # where the engine stores networks
        with stuck.open() as held:  # by whatever name it has then
            run("chattr", "+i", stuck)
            try:
                with pytest.raises(OSError, match=r"local-kv\.db"):
                    own.down()
            finally:
                run("chattr", "-i", Path(f"/proc/self/fd/{held.fileno()}").readlink())

        own.up()

        assert "of-the-first" not in Docker(own.host).cli("network", "ls")
    finally:
        own.down()
    assert list(own.folder.parent.glob(f"{own.name}*")) == []


def _text(path):
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""


def test_an_engine_that_is_named_is_used_or_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("ENGINE_HOST", f"unix://{tmp_path}/missing.sock")
    with pytest.raises(
        UserError, match=r"ENGINE_HOST=unix://.*/missing\.sock names does not answer"
    ):
        docker_engine.ensure()
    monkeypatch.setenv("ENGINE_HOST", docker_engine.OWN.host)
    assert docker_engine.ensure().host == docker_engine.OWN.host
