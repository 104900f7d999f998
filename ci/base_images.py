"""The published images that ours are built on, and the digests that they are pinned by.

Each is named by its registry and a tag of one date, never by a tag that moves from day to day.
"""

from __future__ import annotations

import re

from ci.builders import Builder
from ci.commands import UserError
from ci.progress import step

# One of https://quay.io/repository/jupyter/docker-stacks-foundation?tab=tags, where that project tags all
# of its images with the day of their build. Docker Hub has had no new ones since 2023-10-20.
FOUNDATION = "quay.io/jupyter/docker-stacks-foundation:2026-09-29"
# One of https://hub.docker.com/_/debian/tags.
DEBIAN = "docker.io/library/debian:bookworm-20260824-slim"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def without_tag(reference: str) -> str:
    """Return the name of an image without its tag and its digest."""
    path, slash, last = reference.partition("@")[0].rpartition("/")
    return path + slash + last.partition(":")[0]


def pinned(builder: Builder, reference: str, digest: str = "") -> str:
    """Return NAME@DIGEST of an image, which is pulled unless the builder has it.

    Args:
        digest: the one that it must have; "" for the one that it has. An image that was built here and
            never pushed has none: without a ``digest``, its reference is returned as it is.

    Raises UserError for a digest that the image does not have, CommandError when it cannot be pulled.
    """
    if digest and not _DIGEST.fullmatch(digest):
        raise UserError(f"BASE_DIGEST={digest} must have the form sha256:..., with 64 of 0-9a-f")
    name = without_tag(reference)
    if builder.image_id(reference) is None:
        reference = f"{name}@{digest}" if digest else reference
        if builder.image_id(reference) is None:
            with step(f"Pull {reference} with {builder.name}"):
                builder.pull(reference)
    found = builder.digests(reference)
    if digest and digest not in found:
        has = (
            f"has the digest {' and '.join(found)}" if found else "was built here: it has no digest"
        )
        raise UserError(
            f"BASE_DIGEST={digest} is not the digest of {reference}: the one on this machine {has}."
            " Remove it, so that the right one is pulled, or set BASE_DIGEST to the digest that you trust"
        )
    if digest or found:
        return f"{name}@{digest or found[0]}"
    return reference
