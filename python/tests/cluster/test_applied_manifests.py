"""Rendered manifests, applied twice as Argo CD does: the second time changes nothing."""

import asyncio

import pytest
import yaml
from chart import CHART
from test_chart_lifecycle import ELSEWHERE

VALUES = {path.stem: path for path in sorted((CHART / "ci").glob("*-values.yaml"))}


async def rendered(cluster, namespace, path):
    """Return the objects of a release that the cluster knows, without hooks."""
    process = await asyncio.create_subprocess_exec(
        *(str(cluster.helm), "template", "gitops", str(CHART), f"--namespace={namespace.name}"),
        *(f"--values={path}", f"--set=kernelNamespace={namespace.name}", "--no-hooks"),
        *("--set=gateway.auth.token=", "--set=gateway.auth.existingSecret=corporate"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return yaml.safe_dump_all(
        item
        for item in yaml.safe_load_all(output)
        if item and item["apiVersion"].partition("/")[0] not in ELSEWHERE
    )


@pytest.mark.parametrize("path", VALUES.values(), ids=VALUES.keys())
async def test_applying_again_changes_nothing(cluster, namespace, path):
    apply = ("apply", "--server-side", "--field-manager=argocd-controller", "--filename=-")
    await namespace.run(*apply, stdin=await rendered(cluster, namespace, path))
    again = await rendered(cluster, namespace, path)
    difference = await namespace.run(
        *("diff", "--server-side", "--field-manager=argocd-controller", "--filename=-"),
        stdin=again,
    )
    assert difference == ""
