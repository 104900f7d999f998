"""ci's view of the machine: its builder, its cluster, its certificates and package index."""

import json
from pathlib import Path

import pytest

from ci import builders, clusters, progress, registry_access
from ci.commands import CommandError, UserError, exit_code, run


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv("GP_CACHE", str(tmp_path / "cache"))
    for name in ("CLUSTER", "GP_IMAGE_REGISTRY", *registry_access._CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)


def answering(monkeypatch, *names):
    monkeypatch.setattr(builders, "_answers", lambda *command: command[0] in names)
    monkeypatch.setattr(builders, "docker_answers", lambda: "docker" in names)
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (("docker", "podman", "buildah"), "docker"),
        (("podman", "buildah"), "buildah"),
        (("podman",), "podman"),
    ],
)
def test_the_first_builder_that_works_is_taken(monkeypatch, there, chosen):
    answering(monkeypatch, *there)
    assert builders.find_builder().name == chosen


def test_a_requested_builder_is_used_or_refused(monkeypatch):
    answering(monkeypatch, "docker", "podman")
    assert builders.find_builder("podman").name == "podman"
    with pytest.raises(UserError, match="BUILDER=buildah does not answer here"):
        builders.find_builder("buildah")
    with pytest.raises(
        UserError, match="BUILDER=nonsense is not supported; use one of: docker, buildah, podman"
    ):
        builders.find_builder("nonsense")


def test_a_machine_without_a_builder_is_refused(monkeypatch):
    answering(monkeypatch)
    with pytest.raises(UserError, match="buildah answers here: install one"):
        builders.find_builder()


@pytest.mark.parametrize(
    ("wish", "docker", "kind", "chosen"),
    [
        (None, False, True, "local"),
        (None, True, False, "local"),
        (None, True, True, "kind"),
        ("local", True, True, "local"),
        ("current", False, False, "current"),
    ],
)
def test_which_cluster(monkeypatch, wish, docker, kind, chosen):
    monkeypatch.setattr(clusters, "docker_answers", lambda: docker)
    monkeypatch.setattr(clusters.shutil, "which", lambda name: f"/bin/{name}" if kind else None)
    if wish:
        monkeypatch.setenv("CLUSTER", wish)
    assert clusters.choose() == chosen


def test_an_unknown_cluster_is_refused(monkeypatch):
    monkeypatch.setenv("CLUSTER", "cloud")
    with pytest.raises(
        UserError, match="CLUSTER=cloud is not supported; use one of: local, kind, current"
    ):
        clusters.choose()


def test_the_users_own_cluster_needs_a_registry_that_it_pulls_from(monkeypatch):
    monkeypatch.setenv("CLUSTER", "current")
    with pytest.raises(UserError, match=r"GP_IMAGE_REGISTRY.*elyra/gateway:"):
        clusters.ensure()


def test_images_are_named_as_the_cluster_finds_them():
    paths = dict.fromkeys(("kubeconfig", "kubectl", "helm"), Path("/nowhere"))
    assert clusters.Cluster("local", **paths).image("elyra/gateway:1") == "elyra/gateway:1"
    pulling = clusters.Cluster("current", **paths, registry="registry.example/team")
    assert pulling.image("elyra/gateway:1") == "registry.example/team/elyra/gateway:1"


def test_a_plain_machine_mounts_nothing_into_a_build(monkeypatch):
    monkeypatch.setattr(registry_access, "_pip_settings", dict)
    with registry_access.build_mounts() as mounts:
        assert mounts == {}


def test_certificates_and_index_are_mounted_and_gone_afterwards(monkeypatch, tmp_path):
    bundle = tmp_path / "authority.pem"
    bundle.write_text("certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    settings = {"index-url": "https://user:secret@packages.example/simple", "user": "true"}
    monkeypatch.setattr(registry_access, "_pip_settings", lambda: settings)
    with registry_access.build_mounts() as mounts:
        assert mounts["/etc/ssl/certs/ca-certificates.crt"] == bundle
        conf = mounts["/etc/pip.conf"]
        assert conf.read_text().splitlines() == [
            "[global]",
            "no-cache-dir = true",
            "index-url = https://user:secret@packages.example/simple",
            "cert = /etc/ssl/certs/ca-certificates.crt",
        ]
        assert conf.parent.stat().st_mode & 0o077 == 0
    assert not conf.exists()


def test_apt_sources_and_our_wheel_are_mounted(monkeypatch, tmp_path):
    monkeypatch.setattr(registry_access, "_pip_settings", dict)
    wheel = tmp_path / "gateway_provisioners-1.0.0-py3-none-any.whl"
    with registry_access.build_mounts("deb file:/packages bookworm main\n", wheel) as mounts:
        texts = {target: file.read_text() for target, file in mounts.items() if file != wheel}
        assert mounts[f"/var/tmp/{wheel.name}"] == wheel
    assert texts == {
        "/etc/apt/sources.list.d/build.list": "deb file:/packages bookworm main\n",
        "/var/tmp/gateway-provisioners-constraints.txt": (
            f"gateway_provisioners @ file:///var/tmp/{wheel.name}\n"
        ),
        "/etc/pip.conf": (
            "[global]\nno-cache-dir = true\n"
            "constraint = /var/tmp/gateway-provisioners-constraints.txt\n"
        ),
    }


def test_apt_sources_are_mounted_for_a_debian_that_has_none(monkeypatch):
    monkeypatch.setattr(registry_access, "_pip_settings", dict)
    sources = "deb http://packages.example/debian bookworm main\n"
    with registry_access.build_mounts(sources) as mounts:
        [(target, file)] = mounts.items()
        assert target == "/etc/apt/sources.list.d/build.list"
        assert file.read_text() == sources


def test_pip_settings_come_from_files_and_environment(monkeypatch, tmp_path):
    conf = tmp_path / "pip.conf"
    conf.write_text("[global]\nindex-url = https://packages.example/simple\ntimeout = 5\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(conf))
    monkeypatch.setenv("PIP_TIMEOUT", "7")
    settings = registry_access._pip_settings()
    assert settings["index-url"] == "https://packages.example/simple"
    assert settings["timeout"] == "7"


def test_docker_mounts_files_in_every_run_step_of_the_context_only(tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    dockerfile = context / "Dockerfile"
    dockerfile.write_text(
        "FROM base\nRUN pip install x && \\\n    true\nUSER 1000\nRUN true # RUN\n"
    )
    settings, wheel = tmp_path / "pip.conf", tmp_path / "a.whl"
    settings.write_text("[global]")
    wheel.write_bytes(bytes(builders._LARGEST_SECRET + 1))
    mounts = {"/etc/pip.conf": settings, "/tmp/a.whl": wheel}
    options = builders.Docker()._build_options(context, mounts)
    assert options == ["--secret", f"id=gp0,src={settings}"]
    assert (context / "gp1").stat().st_size == wheel.stat().st_size
    mount = (
        "--mount=type=secret,id=gp0,target=/etc/pip.conf,mode=0444"
        " --mount=type=bind,source=gp1,target=/tmp/a.whl"
    )
    assert dockerfile.read_text().splitlines() == [
        "FROM base",
        f"RUN {mount} pip install x && \\",
        "    true",
        "USER 1000",
        f"RUN {mount} true # RUN",
    ]


def test_a_failing_program_is_reported_with_its_last_lines():
    with pytest.raises(CommandError, match=r"sh ended with exit code 3:\n    out\n    err"):
        run("sh", "-c", "echo out; echo err >&2; exit 3")
    with pytest.raises(CommandError, match="/nowhere/program cannot be run: No such file"):
        run("/nowhere/program")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("decide"), 1, "error: decide\n"),
        (CommandError("broke"), 1, "error: broke\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_a_command_ends_with_a_message_and_no_traceback(capsys, error, code, words):
    def action():
        raise error

    assert exit_code(action) == code
    assert capsys.readouterr().err == words


def test_a_step_shows_its_last_time_and_does_not_store_that_of_a_failure(capsys, tmp_path):
    with progress.step("Do it"):
        pass
    times = tmp_path / "cache" / "step-times.json"
    times.write_text(json.dumps({"Do it": 75.2}))
    with pytest.raises(CommandError), progress.step("Do it"):
        raise CommandError("broke")
    first, done, second, failed = capsys.readouterr().out.splitlines()
    assert first == "  … Do it (first time)"
    assert done.startswith("  ✓ Do it: ")
    assert second == "  … Do it (last time 1 min 15 s)"
    assert failed.startswith("  ✗ Do it: ")
    assert json.loads(times.read_text()) == {"Do it": 75.2}
