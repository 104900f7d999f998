"""`jupyter k8s-spec install`: kernelspecs for kernels in Kubernetes pods."""

from __future__ import annotations

from typing import Any

from traitlets import Unicode

from gateway_provisioners.cli import app
from gateway_provisioners.cli.specs.installer import SpecInstaller, aliases_of, flags_of
from gateway_provisioners.model import kernelspec


class K8sSpecInstaller(SpecInstaller):
    """Installs kernelspecs for the kubernetes-provisioner."""

    name = "jupyter-k8s-spec"
    description = "Install a kernelspec whose kernels run as pods of a Kubernetes cluster."
    examples = """
jupyter k8s-spec install --image-name acme/data-sci-py:2.0 --kernel-name data_sci_py --display-name 'Data Science 2.0'
jupyter k8s-spec install --language R --sys-prefix
jupyter k8s-spec install --authorized-users alice --authorized-users bob --launch-timeout 120 --replace
"""  # noqa: E501  (shown unwrapped)
    name_prefix = "k8s"
    title = "Kubernetes"

    executor_image_name = Unicode(
        None, allow_none=True, help="The image of the kernel's Spark executors."
    ).tag(config=True)
    spark_init_mode = Unicode(
        "none",
        help="When a new kernel creates its Spark context: none (never), lazy (at first use) or"
        " eager (at the start).",
    ).tag(config=True)

    aliases = aliases_of("K8sSpecInstaller", "executor-image-name", "spark-init-mode")
    flags = flags_of("K8sSpecInstaller")

    @property
    def target(self) -> kernelspec.Target:
        return kernelspec.KUBERNETES

    def _target_settings(self) -> dict[str, Any]:
        return {
            "executor_image_name": self.executor_image_name,
            "spark_init_mode": self.spark_init_mode,
        }


class K8sSpec(app.Program):
    """The program `jupyter k8s-spec`."""

    name = "jupyter k8s-spec"
    description = "Manage kernelspecs whose kernels run on Kubernetes."
    subcommands: dict[str, Any] = {  # noqa: RUF012
        "install": (K8sSpecInstaller, K8sSpecInstaller.description)
    }
