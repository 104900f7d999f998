"""Settings: the values of variables, and the documentation of them."""

import ast
import logging
import os
import re
from pathlib import Path

import pytest
from kernel_gateway.gatewayapp import KernelGatewayApp
from traitlets import HasTraits
from traitlets.config import Config, Configurable

import gateway_provisioners
from ci.update.settings_page import SECTIONS
from gateway_provisioners import settings
from gateway_provisioners.errors import ConfigurationError
from gateway_provisioners.gateway.app import GatewayApp
from gateway_provisioners.gateway.kernels.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.provisioners.engine_traits import EngineTraits, KubernetesTraits
from gateway_provisioners.provisioners.launch_traits import LaunchTraits

ROOT = Path(__file__).parents[3]
PACKAGE = Path(gateway_provisioners.__file__).parent
DOCUMENTED = {
    setting.variable
    for _, _, classes in SECTIONS
    for cls in classes
    for _, setting in settings.declared_by(cls)
}
VARIABLE = re.compile(r"\b(?:GP|KG)_[A-Z][A-Z_]*\b")


@pytest.fixture(autouse=True)
def _no_declaration_is_left(monkeypatch):
    monkeypatch.setattr(settings, "_declared", dict(settings._declared))


@pytest.fixture
def read(monkeypatch):
    """Read GP_TEST, set to `text`, as a trait of this kind."""

    def read(text, default, **options):
        class Owner(HasTraits):
            test = settings.from_env("GP_TEST", default, "For tests.", **options)

        monkeypatch.setenv("GP_TEST", text)
        del settings._declared["GP_TEST"]
        return Owner().test

    return read


@pytest.mark.parametrize("empty", ["", " ", "\n"])
@pytest.mark.parametrize("default", [7, 0.5, True, "x", ["root"], {"a"}])
def test_empty_is_not_set(read, default, empty):
    assert read(empty, default) == default


@pytest.mark.parametrize(("text", "number"), [("0", 0), (" 42 ", 42), ("1000000", 1000000)])
def test_whole_numbers(read, text, number):
    assert read(text, 7) == number


@pytest.mark.parametrize("text", ["-1", "1.5", "one", "0x10", "²", "1 2", "1e3", "9" * 19])
def test_invalid_whole_numbers(read, text):
    with pytest.raises(ConfigurationError) as refusal:
        read(text, 7)
    assert str(refusal.value) == f"GP_TEST={text!r} must be a whole number, 0 or more."


def test_a_whole_number_that_is_too_small(read):
    with pytest.raises(ConfigurationError, match="GP_TEST='0' must be a whole number, 1 or more"):
        read("0", 7, min=1)


@pytest.mark.parametrize(("text", "number"), [("3", 3.0), ("0.25", 0.25)])
def test_numbers(read, text, number):
    assert read(text, 0.0) == number


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1,5", "1e3", ".5"])
def test_invalid_numbers(read, text):
    with pytest.raises(ConfigurationError, match="must be a number, 0 or more"):
        read(text, 0.0)


@pytest.mark.parametrize("text", ["True", "true", "1", "yes", "ON"])
def test_true(read, text):
    assert read(text, False) is True


@pytest.mark.parametrize("text", ["False", "FALSE", "0", "no", "off"])
def test_false(read, text):
    assert read(text, True) is False


def test_neither_true_nor_false(read):
    with pytest.raises(ConfigurationError, match=r"^GP_TEST='perhaps' must be true or false\.$"):
        read("perhaps", True)


def test_lists(read):
    assert read(" a, b ,,c", []) == ["a", "b", "c"]


def test_a_comma_alone_is_an_empty_list(read):
    assert read(",", ["root"]) == []


def test_one_of_several(read):
    assert read("docker", "kubernetes", values=("kubernetes", "docker")) == "docker"
    with pytest.raises(ConfigurationError) as refusal:
        read("podman", "kubernetes", values=("kubernetes", "docker"))
    assert str(refusal.value) == "GP_TEST='podman' is not supported; use 'kubernetes' or 'docker'."


def test_a_secret_is_gone_once_taken(read):
    assert read("s3cret\n", "", secret=True) == "s3cret"
    assert "GP_TEST" not in os.environ


def test_a_variable_has_one_declaration():
    with pytest.raises(AssertionError, match="GP_INSTANCE is declared twice"):
        settings.from_env("GP_INSTANCE", "", "Again.")


def test_configuration_comes_before_the_variable(monkeypatch):
    class Owner(Configurable):
        test = settings.from_env("GP_TEST", 7, "For tests.", unit="seconds")

    monkeypatch.setenv("GP_TEST", "x")
    assert Owner(config=Config(Owner={"test": 3})).test == 3
    assert Owner(test=4).test == 4
    assert "For tests. (GP_TEST; seconds; default: 7)" in Owner.class_get_help().replace("\n", "")


def test_defaults_that_depend_on_others(monkeypatch):
    monkeypatch.delenv("GP_INSTANCE", raising=False)
    assert LaunchTraits(image_name="a/b:1").executor_image_name == "a/b:1"
    assert KubernetesTraits(namespace="apart").gateway_namespace == "apart"
    assert EngineTraits().instance != EngineTraits().instance
    assert not EngineTraits().instance_is_lasting
    monkeypatch.setenv("GP_INSTANCE", "team-a")
    assert EngineTraits().instance_is_lasting


@pytest.mark.parametrize("text", ["1", "1000..1001", "2000..1000"])
def test_invalid_port_ranges(monkeypatch, text):
    monkeypatch.setenv("GP_PORT_RANGE", text)
    with pytest.raises(ConfigurationError, match=f"^GP_PORT_RANGE='{text}' is (not|outside|too)"):
        settings.check_environment()


def test_log_levels(monkeypatch):
    assert GatewayApp().log_level == logging.INFO
    monkeypatch.setenv("GP_LOG_LEVEL", "debug")
    assert GatewayApp().log_level == logging.DEBUG
    monkeypatch.setenv("GP_LOG_LEVEL", "loud")
    with pytest.raises(ConfigurationError, match="GP_LOG_LEVEL='loud' is not supported; use"):
        GatewayApp().log_level  # noqa: B018


def test_kernelspecs_are_allowed_in_any_case(monkeypatch):
    monkeypatch.setenv("GP_ALLOWED_KERNELS", "Python3, r")
    assert GatewayKernelSpecManager().allowed_kernelspecs == {"python3", "r"}


@pytest.mark.parametrize(("text", "most"), [("", None), ("0", None), ("3", 3)])
def test_no_number_and_0_are_no_limit_of_kernels(monkeypatch, text, most):
    monkeypatch.setenv("KG_MAX_KERNELS", text)
    assert GatewayApp().max_kernels == most


@pytest.mark.parametrize("name", sorted(settings.REPLACED))
def test_settings_of_the_plain_kernel_gateway_are_not_ignored_silently(monkeypatch, name):
    settings.check_environment()
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigurationError, match=f"{name} is not supported"):
        settings.check_environment()


def test_wrong_variables_of_all_classes_are_refused_at_the_start(monkeypatch):
    monkeypatch.setenv("GP_REMOVE_CONTAINER", "maybe")
    with pytest.raises(ConfigurationError, match="GP_REMOVE_CONTAINER='maybe' must be true or"):
        settings.check_environment()


def test_the_token_is_not_looked_at_before_it_is_needed(monkeypatch):
    monkeypatch.setenv("KG_AUTH_TOKEN", "s3cret")
    settings.check_environment()
    assert os.environ["KG_AUTH_TOKEN"] == "s3cret"


# Besides `settings`, and what else each reads of the environment.
READERS = {
    "cli/chart/gateway_check.py",  # JUPYTER_GATEWAY_*, as any client of a gateway
    "cli/image/check.py",  # all of it, for the container's start script
    "cli/image/inspection.py",  # HOME, in a container
    "cli/image/runtime.py",  # JAVA_HOME and SPARK_HOME, in a container
    "cli/launch/docker.py",  # KERNEL_*, as it is run by Gateway Provisioners
    "cli/launch/kubernetes.py",  # the same
    "dockerd/api.py",  # DOCKER_HOST, as docker's own commands
    "gateway/identity/methods/key_set.py",  # HTTPS_PROXY and NO_PROXY, as other programs
    "gateway/process/malloc.py",  # MALLOC_*, as the C library
    "kube/credentials.py",  # KUBECONFIG, KUBERNETES_SERVICE_HOST, proxies, as kubectl
    "kube/exec_plugin.py",  # all of it, for the plugin
    "provisioners/client_environment.py",  # KERNEL_*, and what not to pass on
    "provisioners/launch_script.py",  # what reaches the cluster, for a script
    "settings.py",
}


def sources():
    return {
        file.relative_to(PACKAGE).as_posix(): ast.parse(file.read_text())
        for file in PACKAGE.rglob("*.py")
        if not file.relative_to(PACKAGE).parts[0].startswith("_")
    }


def test_only_the_listed_modules_read_the_environment():
    def reads(tree):
        return any(
            isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}
            for node in ast.walk(tree)
        )

    assert {name for name, tree in sources().items() if reads(tree)} == READERS


def test_variables_are_named_only_where_they_are_declared():
    """A string that is a variable's name alone is taken as reading it."""
    for name, tree in sources().items():
        declared, named = [], []
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "from_env":
                declared.append(node.args[0].value)
            if isinstance(node, ast.Constant) and VARIABLE.fullmatch(str(node.value)):
                named.append(node.value)
        replaced = settings.REPLACED if name == "settings.py" else ()
        assert sorted(named) == sorted([*declared, *replaced]), name


def test_all_settings_are_on_the_page():
    assert set(settings._declared) == DOCUMENTED
    page = (ROOT / "docs/settings.md").read_text()
    upstream = {
        value for name, value in vars(KernelGatewayApp).items() if re.fullmatch("[a-z_]+_env", name)
    }
    assert upstream <= DOCUMENTED | set(settings.REPLACED) | set(VARIABLE.findall(page))


@pytest.mark.parametrize(
    "pattern",
    [
        "charts/gateway-provisioners/templates/**/*.tpl",
        "docs/**/*.md",
        "examples/**/*",
        "README.md",
    ],
)
def test_variables_that_are_set_and_described_exist(pattern):
    known = DOCUMENTED | set(settings.REPLACED) | set(VARIABLE.findall(_settings_page()))
    for file in ROOT.glob(pattern):
        if file.is_file() and file.name != "settings.md":
            assert set(VARIABLE.findall(file.read_text())) <= known, file


def _settings_page():
    return (ROOT / "docs/settings.md").read_text()
