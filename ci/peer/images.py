"""The peer's images: gateway-provisioners 0.5.0 from PyPI on the same base as ours."""

from __future__ import annotations

from ci.images import FOUNDATION, IMAGES, Image
from ci.paths import ROOT

_FOLDER = ROOT / "ci/peer"

PEER_GATEWAY = Image(
    "peer/gateway:0.5.0", _FOLDER / "gateway", FOUNDATION.reference, deployed=False
)
PEER_KERNEL_PY = Image(
    "peer/kernel-py:0.5.0", _FOLDER / "kernel-py", FOUNDATION.reference, deployed=False
)


def register() -> None:
    """Let ci.images build these two by their names; `make images` goes on without them."""
    IMAGES.update({image.reference: image for image in (PEER_GATEWAY, PEER_KERNEL_PY)})
