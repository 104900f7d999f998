"""Check objects against their schemas: ``helm template ... | python -m ci.check_manifests``.

Built-in kinds are checked in each version of Kubernetes from the chart's minimum to the newest one in the
package kubernetes-validate; others against their CustomResourceDefinitions. Unknown fields and kinds are
errors: the API server would silently drop the former and reject the latter. So are duplicate keys.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from ci.commands import run
from ci.paths import ROOT

CHART = ROOT / "charts/gateway-provisioners"
Object = dict[str, Any]

# The CustomResourceDefinitions of each API group: a module of ci/crds, and a folder in it.
DEFINITIONS = {
    "cert-manager.io": ("github.com/cert-manager/cert-manager", "deploy/crds"),
    "gateway.networking.k8s.io": ("sigs.k8s.io/gateway-api", "config/crd/standard"),
    "monitoring.coreos.com": (
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd",
    ),
}


def problems(objects: Iterable[Object]) -> Iterator[str]:
    """Yield a line for each problem of an object, with the first version that has it."""
    for item in objects:
        seen = set()
        group = item["apiVersion"].rpartition("/")[0]
        for version in [group] if group in DEFINITIONS else kubernetes_versions():
            named = f"{item['kind']} {item['metadata']['name']}"
            validator = _validator(version, item["apiVersion"], item["kind"])
            if validator is None:
                found = [f"there is no {item['apiVersion']} {item['kind']}"]
            else:
                found = [
                    f"{error.json_path}: {error.message}" for error in validator.iter_errors(item)
                ]
            for text in found:
                if text not in seen:
                    seen.add(text)
                    yield f"{named} ({version}): {text}"


@functools.cache
def kubernetes_versions() -> list[str]:
    """Return the minor versions to check, oldest first."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    [oldest] = re.findall(r">=1\.(\d+)\.", chart["kubeVersion"])
    shipped = [int(folder.name.split(".")[1]) for folder in _schemas().glob("v1.*.0-local-strict")]
    return [f"1.{minor}" for minor in sorted(shipped) if minor >= int(oldest)]


def _schemas(version: str = "") -> Path:
    """Return the folder of one version's schemas, or of all versions."""
    every = Path(str(importlib.resources.files("kubernetes_validate"))) / "kubernetes-json-schema"
    return every / f"v{version}.0-local-strict" if version else every


@functools.cache
def _validator(version: str, api_version: str, kind: str) -> Draft202012Validator | None:
    """Return the validator of a kind in a version of Kubernetes, or in the API group that defines it."""
    group, _, group_version = api_version.rpartition("/")
    if version in DEFINITIONS:
        schema = _definition(group, kind).get(group_version)
        return Draft202012Validator(schema) if schema else None
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], group_version)))
    file = _schemas(version) / f"{name}.json"
    if not file.is_file():
        return None
    return Draft202012Validator(json.loads(file.read_text()), registry=_registry(version))


@functools.cache
def _registry(version: str) -> Registry[Any]:
    definitions = json.loads((_schemas(version) / "_definitions.json").read_text())
    return Resource.from_contents(definitions) @ Registry()


def _definition(group: str, kind: str) -> dict[str, Object]:
    """Return the schemas of a custom kind, by version."""
    module, folder = DEFINITIONS[group]
    download = json.loads(run("go", "mod", "-C", ROOT / "ci/crds", "download", "-json", module))
    return {
        version["name"]: _strict(version["schema"]["openAPIV3Schema"])
        for file in Path(download["Dir"], folder).glob(f"*[-_]{kind.lower()}s.yaml")
        for definition in yaml.load_all(file.read_text(), Loader)
        for version in definition["spec"]["versions"]
    }


class Loader(yaml.CSafeLoader):
    """Read `=` as text, as YAML 1.2 does, and reject duplicate keys, as strict parsers do."""

    yaml_constructors: ClassVar = {
        **yaml.CSafeLoader.yaml_constructors,
        "tag:yaml.org,2002:value": yaml.CSafeLoader.construct_yaml_str,
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {key.value!r}", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _strict(schema: Any) -> Any:
    """Return the schema without additional properties where it lists properties."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def main() -> int:
    """Print the problems of the objects on standard input."""
    try:
        found = list(problems(filter(None, yaml.load_all(sys.stdin, Loader))))
    except yaml.YAMLError as error:
        found = [str(error)]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
