"""The Debian root of images/foundation, made from this machine's own apt sources."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from ci.commands import UserError, run
from ci.paths import cache
from ci.progress import step

SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = ("ca-certificates", "netbase", "python3", "tini", "usr-is-merged")
# apt prefers usrmerge, which brings the whole of Perl, to usr-is-merged, which is empty.
UNWANTED = ("usrmerge", "perl-modules-5.36", "libgdbm6")
EXCLUDED = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/doc/*")
LICENCES = "/usr/share/doc/*/copyright"
# Nothing of this machine stays: neither its name, nor its name server, nor its package sources.
HOOKS = (
    f'chroot "$1" apt-get --quiet --quiet --yes purge --auto-remove {" ".join(UNWANTED)}',
    'rm --recursive --force "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*',
    'rm --recursive --force "$1"/etc/hostname "$1"/var/log/* "$1"/var/cache/* "$1"/var/lib/apt/lists/*',
    ': > "$1"/etc/resolv.conf',
)


def apt_sources() -> str:
    """Return this machine's apt sources for the suite, one line each, from all its files.

    Raises UserError when it has none.
    """
    # Without gpg, which a small machine lacks, mmdebstrap cannot find out which key signs a source.
    key = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""
    template = f"deb{key} $(REPO_URI) $(RELEASE) $(COMPONENT)"
    lines = run(
        "apt-get", "indextargets", "--format", template, "Created-By: Packages"
    ).splitlines()
    of_suite = [line for line in dict.fromkeys(lines) if line.split()[-2].startswith(SUITE)]
    if not of_suite:
        raise UserError(
            f"this machine has no apt source of Debian {SUITE}, which the base image is built from; "
            "use another base with BASE_IMAGE=..."
        )
    return "\n".join(of_suite) + "\n"


def debian_root() -> Path:
    """Return the tar of the Debian root, made now unless the cache has it.

    Raises UserError when this machine cannot make one.
    """
    recipe = repr((SUITE, PACKAGES, EXCLUDED, LICENCES, HOOKS))
    archive = (
        cache() / f"rootfs/debian-{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.tar"
    )
    if archive.exists():
        return archive
    if shutil.which("mmdebstrap") is None or os.geteuid() != 0:
        raise UserError(
            "the base image needs root and the Debian package mmdebstrap; "
            "or use another base with BASE_IMAGE=..."
        )
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_suffix(".partial.tar")
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    command += [f"--dpkgopt=path-include={LICENCES}"]
    command += [f"--customize-hook={hook}" for hook in HOOKS]
    with step(f"Make a Debian {SUITE} root"):
        try:
            run(*command, SUITE, partial, "-", stdin=apt_sources())
            partial.replace(archive)
        finally:
            partial.unlink(missing_ok=True)
    return archive
