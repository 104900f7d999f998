"""Kernelspec settings as data: validation, and the kernel.json built from them."""

import copy
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_provisioners.model.kernelspec import (
    DOCKER,
    KernelSpecSettings,
    build_kernel_json,
    is_image_name,
    port_range_problem,
    problems,
)

SETTINGS = KernelSpecSettings(
    name="data_sci_py",
    display_name="Data Science 2.0",
    language="python",
    image_name="acme/data-sci-py:2.0",
    resource_dir="/usr/local/share/jupyter/kernels/data_sci_py",
)


def test_good_settings_have_no_problems():
    assert problems(SETTINGS) == []


def test_building_changes_nothing_and_shares_nothing():
    users = ["alice"]
    settings = dataclasses.replace(SETTINGS, authorized_users=users)
    before = copy.deepcopy(settings)
    content = build_kernel_json(settings)
    content["metadata"]["kernel_provisioner"]["config"]["authorized_users"].append("eve")
    assert settings == before


def test_another_target():
    content = build_kernel_json(dataclasses.replace(SETTINGS, target=DOCKER))
    assert content["argv"][1].endswith("/scripts/launch_docker.py")
    assert content["metadata"]["kernel_provisioner"]["provisioner_name"] == "docker-provisioner"


@pytest.mark.parametrize(
    "image",
    [
        "busybox",
        "acme/data-sci-py:2.0",
        "registry.acme.example:5000/team/data_sci--py:V2.0-rc.1_x",
        "[2001:db8::1]:5000/acme/py",
        "localhost/acme/py",
        "acme/py@sha256:" + "0123456789abcdef" * 4,
        "acme/py:2.0@sha256:" + "0123456789ABCDEF" * 4,
        "a/b/c/d__e/f.g:" + "t" * 128,
    ],
)
def test_image_names(image):
    assert is_image_name(image)


@pytest.mark.parametrize(
    "image",
    [
        "",
        " ",
        "acme/Py",
        "acme//py",
        "/acme/py",
        "acme/py/",
        "acme/py:",
        "acme/py:2.0:3",
        "acme/py:" + "t" * 129,
        "acme/-py",
        "acme/a___b",
        "acme/py@sha256:short",
        "acme/py@",
        "acme/py\n",
        "acme/py;rm -rf /",
        "https://acme/py",
        "acme/pÿ",
        "$(id)",
        "a" * 256,
    ],
)
def test_invalid_image_names(image):
    assert not is_image_name(image)


@given(st.text(alphabet="ab-_.:/@[]0F\n ", max_size=60))
def test_image_names_have_no_space_and_a_valid_start_and_end(image):
    if is_image_name(image):
        assert not image.isspace()
        assert image[0] in "ab0F["
        assert image[-1] not in "/:@\n"


@pytest.mark.parametrize("port_range", ["0..0", "1024..2024", "40000..41000", "1024..65535"])
def test_port_ranges(port_range):
    assert port_range_problem(port_range) is None


@pytest.mark.parametrize(
    "port_range",
    [
        *("", "0", "..", "1..1", "0..1000", "40000-41000", "a..b", "40000..41000 "),
        *("40000..40999", "64536..65536", "40000..100000", "-40000..41000", "٤٠٠٠٠..٤١٠٠٠"),
    ],
)
def test_invalid_port_ranges(port_range):
    assert port_range_problem(port_range)
