#!/bin/bash
# Run inside the image, as its user: everything that the images based on it rely on.
set -euo pipefail
fail() { echo "smoke test: $*" >&2; exit 1; }

[[ "$(id -u):$(id -g):$(id -un):$(id -gn)" == 1000:100:jovyan:users ]] || fail "the user is $(id)"
[[ "${NB_USER} ${NB_UID} ${NB_GID} ${HOME}" == "jovyan 1000 100 /home/jovyan" ]] || fail "NB_USER, NB_UID, NB_GID or HOME is wrong"
touch "${HOME}/writable" || fail "HOME is not writable"
python -m pip --version >/dev/null
python -c 'import ctypes, sqlite3, ssl, zlib'
python -m venv --help >/dev/null

mkdir "${HOME}/shared"
chmod 0700 "${HOME}/shared"
fix-permissions "${HOME}/shared"
[[ "$(stat --format=%A "${HOME}/shared")" == drwxrws--- ]] || fail "fix-permissions left $(stat --format=%A "${HOME}/shared")"

tini -s -g -- true
leftovers="$(find /root/.cache "${HOME}/.cache" /var/lib/apt/lists /etc/apt/sources.list* -type f -size +0 2>/dev/null || true)"
[[ -z "${leftovers}" ]] || fail "left from the build: ${leftovers}"
