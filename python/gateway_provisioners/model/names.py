"""Turn any string into a legal Kubernetes name.

Rules: RFC 1123 labels as in https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
(at most 63 of a-z, 0-9 and '-', alphanumeric at both ends).
"""

from __future__ import annotations

import hashlib
import re

MAX_LABEL = 63
_HASH_LENGTH = 8
# 128 bits of SHA-256: collisions cannot be constructed.
_LONG_HASH_LENGTH = 32
_HASH_MARK = "---"


def slug(text: str, *, max_length: int) -> str:
    """Return the legal characters of `text`, lower case; never empty, at most `max_length`.

    Text that loses characters gets a short hash, so that users whose names differ only in illegal
    characters still get different slugs.
    """
    legal = re.sub(r"[^a-z0-9]+", "-", text.lower().encode("ascii", "ignore").decode()).strip("-")
    if legal and legal == text and len(legal) <= max_length:
        return legal
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    head = legal[: max_length - _HASH_LENGTH - 1].strip("-")
    return f"{head}-{digest}" if head else digest


def user_label(username: str) -> str:
    """Return a DNS label for a user that no other user has.

    A name that is a legal label is its own label. Any other gets a hash behind a mark that the former may
    not contain: a user who takes the label of another user as a name gets a different label.
    """
    legal = re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", username)
    if legal and _HASH_MARK not in username:
        return username
    digest = hashlib.sha256(username.encode("utf-8", "surrogatepass")).hexdigest()
    tail = _HASH_MARK + digest[:_LONG_HASH_LENGTH]
    ascii_part = username.lower().encode("ascii", "ignore").decode()
    head = re.sub(r"[^a-z0-9]+", "-", ascii_part).strip("-")[: MAX_LABEL - len(tail)].rstrip("-")
    return f"{head or 'user'}{tail}"


def pod_name(username: str, kernel_id: str, attempt: int) -> str:
    """Return the pod's name for one attempt at running one kernel.

    Each attempt has its own name: the pod that a restart replaces may still be terminating.
    """
    tail = f"{slug(kernel_id, max_length=36)}-{attempt}"
    return f"{slug(username, max_length=MAX_LABEL - len(tail) - 1)}-{tail}"
