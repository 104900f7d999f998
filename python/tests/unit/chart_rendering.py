"""Render the chart with real Helm programs, without a cluster.

`helm4`, `helm3` and `pod-security` are taken from PATH; otherwise ci/cluster builds them.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ci.check_manifests import Loader

REPOSITORY = Path(__file__).parents[3]
CHART = REPOSITORY / "charts" / "gateway-provisioners"
HELMS = ("helm4", "helm3")

# A Helm that was built without the flags of a release would assume a very old cluster.
_COMMON = ("--kube-version", "1.34.4", "--values", "-")


class RenderingFailed(Exception):
    """Helm failed; the text is its error message."""


@functools.cache
def executable(program: str) -> str:
    """Return the path of `helm4`, `helm3` or `pod-security`."""
    if found := shutil.which(program):
        return found
    cluster = REPOSITORY / "ci" / "cluster" / "cluster.sh"
    folder = subprocess.run([cluster, "bin"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return str(Path(folder.strip()) / program)


def helm(
    program: str, command: str, *arguments: str, values: Mapping[str, Any] | None = None
) -> str:
    """Run Helm with `values` as a values file and return its output."""
    done = subprocess.run(
        [executable(program), command, *_COMMON, *arguments],
        input=_yaml(values or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RenderingFailed(done.stderr + done.stdout)
    return done.stdout


def _yaml(values: Mapping[str, Any]) -> str:
    """Return JSON that is also valid YAML: no surrogates, and unprintable characters escaped."""
    text = json.dumps(values, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", text)


@dataclass(frozen=True)
class Rendered:
    """The objects of one release."""

    objects: tuple[dict[str, Any], ...]

    def all(self, kind: str) -> Iterator[dict[str, Any]]:
        return (item for item in self.objects if item["kind"] == kind)

    def one(self, kind: str) -> dict[str, Any]:
        (found,) = self.all(kind)
        return found

    @property
    def pod(self) -> dict[str, Any]:
        return self.one("Deployment")["spec"]["template"]

    @property
    def container(self) -> dict[str, Any]:
        """The gateway's container, which is always the first."""
        container = self.pod["spec"]["containers"][0]
        assert container["name"] == "gateway"
        return container

    @property
    def env(self) -> dict[str, Any]:
        """The gateway's environment: literals as strings, others as their valueFrom."""
        listed = self.container["env"]
        env = {item["name"]: item.get("value", item.get("valueFrom")) for item in listed}
        assert len(env) == len(listed), "a variable is set twice"
        return env

    @property
    def kernelspecs(self) -> dict[str, dict[str, Any]]:
        [data] = [
            item["data"]
            for item in self.all("ConfigMap")
            if item["metadata"]["name"].endswith("-kernelspecs")
        ]
        assert all(key.endswith(".json") for key in data)
        return {key.removesuffix(".json"): json.loads(text) for key, text in data.items()}


def render(
    values: Mapping[str, Any] | None = None,
    *,
    release: str = "gateway",
    namespace: str = "notebooks",
    program: str = "helm4",
    settings: tuple[str, ...] = (),
) -> Rendered:
    """Render a release; `settings` are given with --set, in Helm's own syntax."""
    return _render(json.dumps(values or {}), release, namespace, program, settings)


@functools.cache
def _render(
    values: str, release: str, namespace: str, program: str, settings: tuple[str, ...]
) -> Rendered:
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    output = helm(
        program,
        *("template", release, str(CHART), "--namespace", namespace, *arguments),
        values=json.loads(values),
    )
    return Rendered(tuple(item for item in yaml.load_all(output, Loader) if item))


def refusal(values: Mapping[str, Any] | None = None, **options: Any) -> str:
    """Return Helm's error message for these values, which must not render."""
    try:
        render(values, **options)
    except RenderingFailed as refused:
        return str(refused)
    raise AssertionError("these values were accepted")


def chart_values() -> dict[str, Any]:
    """Return the chart's default values."""
    values: dict[str, Any] = yaml.load((CHART / "values.yaml").read_text(), yaml.CSafeLoader)
    return values
