"""Kernelspecs from disk and from a ConfigMap."""

import json
import logging

import pytest
from jupyter_client.kernelspec import NoSuchKernel

from gateway_provisioners.gateway.kernels.kernelspecs import GatewayKernelSpecManager

SPEC = {"argv": ["python"], "display_name": "From the map", "language": "python"}


class Source:
    def __init__(self):
        self.objects = {}
        self.synced = True
        self.listeners = []

    def subscribe(self, listener):
        self.listeners.append(listener)
        return lambda: None

    def change(self, data):
        self.objects = {"specs": {"metadata": {"name": "specs"}, "data": data}}
        for listener in self.listeners:
            listener("MODIFIED", self.objects["specs"])


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def specs(tmp_path, source, monkeypatch):
    on_disk = tmp_path / "kernels" / "disk"
    on_disk.mkdir(parents=True)
    (on_disk / "kernel.json").write_text(json.dumps({**SPEC, "display_name": "From disk"}))
    manager = GatewayKernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")])
    manager.follow(source)
    return manager


def changed(**changes):
    return json.dumps({**SPEC, **changes})


def test_kernelspecs_of_both_sources_are_listed(specs, source):
    source.change({"map.json": changed()})
    assert set(specs.get_all_specs()) == {"disk", "map"}
    assert specs.get_kernel_spec("map").display_name == "From the map"
    assert specs.get_kernel_spec("disk").display_name == "From disk"


def test_the_configmap_has_precedence(specs, source):
    source.change({"disk.json": changed()})
    assert specs.get_kernel_spec("disk").display_name == "From the map"


def test_a_change_counts_at_once(specs, source):
    source.change({"map.json": changed()})
    source.change({"map.json": changed(display_name="New")})
    assert specs.get_kernel_spec("map").display_name == "New"
    source.change({})
    with pytest.raises(NoSuchKernel):
        specs.get_kernel_spec("map")


def test_a_kernelspec_on_disk_is_read_when_asked_for(specs, tmp_path):
    later = tmp_path / "kernels" / "later"
    later.mkdir()
    (later / "kernel.json").write_text(changed(display_name="Later"))
    assert specs.get_kernel_spec("later").display_name == "Later"


def test_names_are_not_case_sensitive(specs, source):
    source.change({"Data_Sci.json": changed()})
    assert "data_sci" in specs.find_kernel_specs()
    assert specs.get_kernel_spec("DATA_SCI").display_name == "From the map"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        (changed(argv=[]), "`argv`"),
        (changed(argv="python"), "`argv`"),
        (changed(argv=["python", 1]), "`argv`"),
        (changed(language=None), "`language`"),
        (changed(display_name=""), "`display_name`"),
        (changed(env={"A": 1}), "`env`"),
        (changed(env=[]), "`env`"),
        (changed(metadata="x"), "kernel_provisioner"),
        (changed(interrupt_mode="shout"), "interrupt_mode"),
        (changed(metadata={"kernel_provisioner": []}), "kernel_provisioner"),
        (changed(metadata={"max_lifetime": "1d"}), "`metadata.max_lifetime` is not a whole number"),
        (
            changed(metadata={"cull_idle_timeout": -1}),
            "`metadata.cull_idle_timeout` is not a whole",
        ),
        (
            changed(metadata={"kernel_provisioner": {"provisioner_name": "x", "config": 1}}),
            "config",
        ),
        (changed(metadata={"kernel_provisioner": {"provisioner_name": "x"}}), "not installed"),
    ],
)
def test_a_broken_kernelspec_is_left_out_with_its_reason(specs, source, content, words):
    source.change({"broken.json": content, "map.json": changed()})
    assert set(specs.get_all_specs()) == {"disk", "map"}
    check = specs.check()
    assert check.ok
    assert "broken.json" in check.detail
    assert words in check.detail


def test_a_broken_kernelspec_is_logged_once(specs, source, caplog):
    caplog.set_level(logging.ERROR)
    for display_name in ("A", "B"):
        source.change({"broken.json": "{", "map.json": changed(display_name=display_name)})
    assert len(caplog.records) == 1
    source.change({"broken.json": changed()})
    assert "broken" in specs.get_all_specs()
    assert "broken" not in specs.check().detail
    source.change({"broken.json": "{"})
    assert len(caplog.records) == 2


def test_unknown_fields_are_ignored(specs, source):
    source.change({"map.json": changed(codemirror_mode="x", resource_dir="/etc", name="y")})
    assert specs.get_kernel_spec("map").resource_dir != "/etc"


def test_other_keys_are_ignored(specs, source):
    source.change({"README.md": "# hello"})
    assert set(specs.get_all_specs()) == {"disk"}


def test_not_ready_before_the_configmap_was_read(specs, source):
    source.synced = False
    assert not specs.check().ok


@pytest.mark.parametrize("name", ["disk", "map"])
def test_only_allowed_kernelspecs_are_served(specs, source, name):
    source.change({"map.json": changed()})
    specs.allowed_kernelspecs = {name}
    assert set(specs.get_all_specs()) == {name}
    (other,) = {"disk", "map"} - {name}
    with pytest.raises(NoSuchKernel):
        specs.get_kernel_spec(other)


def test_the_native_kernel_is_not_offered(specs):
    assert "python3" not in specs.find_kernel_specs()
    with pytest.raises(NoSuchKernel):
        specs.get_kernel_spec("python3")
