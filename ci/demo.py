"""`make demo`: notebooks on kernel pods, one of them of a custom image, from nothing but this checkout.

It does what a platform team and a data scientist would: install the chart, add a kernel with one flag, run
notebooks from outside the cluster, each on the kernel that it names. ``python -m ci.demo clean`` removes it.
ENGINE chooses the engine of kernels: kubernetes, or docker (demo_docker.py); BUILDER chooses the builder of
images.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyhelm3  # type: ignore[import-untyped]

from ci import clusters, demo_docker, images
from ci.clusters import Cluster
from ci.commands import CommandError, UserError, exit_code
from ci.demo_clients import jupyterlab_line, remove_kernelspecs
from ci.demo_notebooks import CUSTOM, OWN_KERNELS, SCALA_VARIABLES, run_notebooks
from ci.gateway_access import Release, forwarded
from ci.paths import ROOT
from ci.progress import say, step

NAMESPACE = "gateway-demo"
RELEASE = "gateway"
# The name that the demo leaves at a cluster that it brought up.
OWNER = "demo"
CHART = "charts/gateway-provisioners"
RESULTS = ROOT / "build/demo"
FORWARDED_PORT = 9999


def _make_namespace(release: Release) -> None:
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": release.namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }
    release.kubectl("apply", "--filename", "-", stdin=json.dumps(namespace))


def _images(cluster: Cluster) -> dict[str, object]:
    """Give the cluster this checkout's images; return the chart's values that offer their kernels."""
    kernels: dict[str, dict[str, object]] = {
        name: {"enabled": True, "image": cluster.image(image.reference)}
        for name, image in OWN_KERNELS.items()
    }
    kernels["scala"]["env"] = SCALA_VARIABLES
    if cluster.registry:
        repository = images.GATEWAY.reference.rpartition(":")[0]
        return {
            "gateway": {"image": {"repository": cluster.image(repository)}},
            "kernels": kernels,
        }
    built = {image.reference: image.archive for image in images.ensure()}
    with step("Put the images onto the node"):
        cluster.load(built.values())
    # The tag stays when the image is built anew: only this makes Kubernetes start the new one.
    annotations = {"gateway-provisioners/built-as": built[images.GATEWAY.reference].stem}
    return {"gateway": {"podAnnotations": annotations}, "kernels": kernels}


async def _deploy(release: Release, values: dict[str, object]) -> None:
    cluster = release.cluster
    helm = pyhelm3.Command(executable=str(cluster.helm), kubeconfig=cluster.kubeconfig)
    upgrade = ["upgrade", RELEASE, str(ROOT / CHART), "--namespace", release.namespace]
    with step(f"helm install {RELEASE} {CHART}"):
        await helm.install_or_upgrade(
            RELEASE,
            ROOT / CHART,
            values,
            namespace=release.namespace,
            create_namespace=False,
            wait=True,
        )
    flags = ["--reset-then-reuse-values", "--set"]
    flags.append(f"kernels.{CUSTOM}.image={cluster.image(images.DATA_SCI_PY.reference)}")
    with step(f"helm upgrade {RELEASE} {CHART} {' '.join(flags)}"):
        # pyhelm3's install_or_upgrade has no option for --reset-then-reuse-values; its run takes any.
        await helm.run([*upgrade, *flags, "--wait"])


def _run_notebooks(release: Release) -> list[Path]:
    with forwarded(release) as gateway_url:
        return run_notebooks(
            gateway_url,
            release.token(),
            RESULTS,
            "on a pod",
            lambda: release.kubectl("logs", f"service/{release.service()}", "--tail=10"),
        )


def _print_next_steps(release: Release, results: Sequence[Path]) -> None:
    programs, secret = release.cluster.kubectl.parent, release.token_secret()
    kubectl = f"kubectl --namespace {release.namespace}"
    template = shlex.quote("{{ .data.token | base64decode }}")
    listed = "\n".join(f"  {path}" for path in results)
    say(
        f"""
Executed, with all outputs:
{listed}

Go on with JupyterLab, in two terminals. First in each:
  export KUBECONFIG={release.cluster.kubeconfig} PATH={programs}:$PATH
1. forward a local port to the gateway, and leave this running:
  {kubectl} port-forward service/{release.service()} {FORWARDED_PORT}:8888
2. install the gateway's kernels beside your local ones, and start JupyterLab:
  export JUPYTER_GATEWAY_AUTH_TOKEN="$({kubectl} get secret {secret} --output go-template={template})"
  {jupyterlab_line(f"http://127.0.0.1:{FORWARDED_PORT}", RESULTS, results[0])}

Each open notebook is a pod: {kubectl} get pods
Take everything down: make clean-demo"""
    )


def demo(namespace: str) -> None:
    """Bring everything up, execute the notebooks, print where the results are."""
    start = time.monotonic()
    say("Gateway Provisioners: notebooks on kernel pods")
    remove_kernelspecs(RESULTS)  # of a demo before
    cluster = clusters.ensure(for_whom=OWNER)
    values = _images(cluster)
    release = Release(cluster, namespace, RELEASE)
    _make_namespace(release)
    try:
        asyncio.run(_deploy(release, values))
    except pyhelm3.errors.Error as error:
        raise CommandError(f"helm failed: {error}") from error
    results = _run_notebooks(release)
    say(f"  done in {time.monotonic() - start:.0f} s")
    _print_next_steps(release, results)


def clean(namespace: str) -> None:
    """Remove the release and its namespace, and the cluster if the demo brought it up."""
    remove_kernelspecs(RESULTS)
    if clusters.owner() == OWNER:
        clusters.down()
    elif clusters.running():
        release = Release(clusters.ensure(), namespace, RELEASE)
        with step(f"Remove the namespace {namespace} and all that is in it"):
            release.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait")
    else:
        say("  no cluster runs; nothing to remove")


def main() -> int:
    """Run the demo, or remove it."""
    parser = argparse.ArgumentParser(prog="python -m ci.demo", description="Run the demo.")
    parser.add_argument("verb", nargs="?", choices=("run", "clean"), default="run")
    parser.add_argument(
        "--namespace",
        default=NAMESPACE,
        help="the namespace; on Docker, the project's name (default %(default)s)",
    )
    arguments = parser.parse_args()
    return exit_code(lambda: _act(arguments.verb, arguments.namespace))


def _act(verb: str, namespace: str) -> None:
    engine = os.environ.get("ENGINE") or "kubernetes"
    if engine == "docker":
        (demo_docker.clean if verb == "clean" else demo_docker.demo)(namespace)
    elif engine == "kubernetes":
        (clean if verb == "clean" else demo)(namespace)
    else:
        raise UserError(f"ENGINE={engine} is not supported; use kubernetes or docker")


if __name__ == "__main__":
    sys.exit(main())
