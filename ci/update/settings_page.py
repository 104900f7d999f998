"""Writes the tables of docs/settings.md from the package's declarations of its settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gateway_provisioners.gateway.app import GatewayApp
from gateway_provisioners.gateway.http.personality import GatewayPersonality
from gateway_provisioners.gateway.kernels.kernelspecs import GatewayKernelSpecManager
from gateway_provisioners.gateway.kernels.manager import GatewayKernelManager
from gateway_provisioners.provisioners.engine_traits import (
    DockerTraits,
    EngineTraits,
    KubernetesTraits,
)
from gateway_provisioners.provisioners.launch_traits import (
    ClientPolicyTraits,
    KubernetesLaunchTraits,
    LaunchTraits,
)
from gateway_provisioners.settings import Setting, declared_by

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
BEGIN = "<!-- settings: made by ci/update/settings_page.py from the code -->"
END = "<!-- end of settings -->"

# A heading, who reads these variables, and the classes that declare them.
SECTIONS: tuple[tuple[str, str, tuple[type, ...]], ...] = (
    (
        "Gateway",
        "Read by `jupyter-gateway` alone.",
        (
            GatewayApp,
            GatewayPersonality,
            GatewayKernelSpecManager,
            GatewayKernelManager,
        ),
    ),
    (
        "Process",
        "Read by every process that starts kernels, the gateway or another.",
        (EngineTraits,),
    ),
    (
        "Process, on Kubernetes",
        "Likewise. Those about gateways are of use to `jupyter-gateway` alone.",
        (KubernetesTraits,),
    ),
    ("Process, on Docker", "Likewise, with Swarm and podman.", (DockerTraits,)),
    (
        "Kernels",
        (
            "Defaults for all kernelspecs of a process. A kernelspec sets its own, by the trait's name, in "
            "`metadata.kernel_provisioner.config`."
        ),
        (LaunchTraits, KubernetesLaunchTraits),
    ),
    (
        "What clients may ask for",
        "Likewise. See [Kernels](kernels.md#what-clients-may-ask-for).",
        (ClientPolicyTraits,),
    ),
)


def tables() -> Iterator[str]:
    """Yield the lines of all sections."""
    for heading, readers, classes in SECTIONS:
        yield from ("", f"## {heading}", "", readers, "")
        yield from ("| Variable | Trait | Default | Meaning |", "|---|---|---|---|")
        for cls in classes:
            for name, setting in declared_by(cls):
                trait = name if issubclass(cls, ClientPolicyTraits) else f"{cls.__name__}.{name}"
                meaning = re.sub(r"\b(GP|KG|KERNEL)_[A-Z_]+\*?", r"`\g<0>`", setting.meaning)
                yield f"| `{setting.variable}` | `{trait}` | {_default(setting)} | {meaning} |"


def _default(setting: Setting) -> str:
    words = setting.compute or setting.default == ""
    if words or not setting.default_text:
        return setting.default_text
    return f"`{setting.default_text}` {setting.unit}".rstrip()


def page(old: str) -> str:
    """Return the page with what is between its marks made anew."""
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([before + BEGIN, *tables(), "", END + after])


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
