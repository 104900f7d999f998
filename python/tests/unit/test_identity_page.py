"""Try what docs/identity.md and its examples say: values of the chart, and how tokens are hashed."""

import re
import subprocess

import pytest
import yaml
from chart_rendering import render

from ci.paths import ROOT
from gateway_provisioners.gateway.identity.config import build_methods
from gateway_provisioners.gateway.identity.credential import Credential

PAGE = (ROOT / "docs/identity.md").read_text()
TOKEN = "0123456789abcdef"
VALUES = [
    yaml.safe_load(text)
    for text in (
        *re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL),
        *(path.read_text() for path in ROOT.glob("examples/*/gateway-values.yaml")),
    )
    if "methods" in yaml.safe_load(text).get("gateway", {}).get("auth", {})
]


def methods_of(values):
    return values["gateway"]["auth"]["methods"]


def named(values):
    return "-".join(methods_of(values))


@pytest.fixture
def folder(tmp_path):
    """Return the folder where a gateway finds the Secrets of the methods."""
    (tmp_path / "people").mkdir()
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy/secret").write_text(TOKEN)
    return tmp_path


async def built_methods(values, folder):
    """Return the methods that the gateway makes of these values of the chart."""
    setting = render(values).env["GP_AUTH_METHODS"]
    return build_methods("", setting.replace("/run/auth", str(folder)))


def test_every_type_of_method_has_an_example():
    types = {method["type"] for values in VALUES for method in methods_of(values).values()}
    assert types == {"token", "jwt", "jupyterhub", "header"}


@pytest.mark.parametrize("values", VALUES, ids=named)
async def test_the_gateway_accepts_the_methods_of_the_pages(values, folder):
    methods = await built_methods(values, folder)
    assert {method.name for method in methods} == set(methods_of(values))
    for method in methods:
        await method.close()


@pytest.fixture
def hashed():
    """Return the line of TOKEN as the page has it made."""
    lines = set(re.findall(r"sha256:\$\(printf .*?\)", PAGE))
    assert len(lines) == 1
    script = f'token={TOKEN}; echo -n "{lines.pop()} 9999-06-30"'
    return subprocess.check_output(["bash", "-c", script], text=True)


async def test_a_token_that_is_hashed_as_shown_is_accepted(folder, hashed):
    (folder / "people/alice").write_text(hashed)
    (values,) = [values for values in VALUES if "people" in methods_of(values)]
    (method,) = await built_methods(values, folder)
    credential = Credential(token=TOKEN)
    assert method.fits(credential)
    assert (await method.identify(credential)).name == "alice"


def test_the_shell_commands_of_the_page_are_valid():
    commands = re.findall(r"```shell\n(.*?)```", PAGE, flags=re.DOTALL)
    assert commands
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)
