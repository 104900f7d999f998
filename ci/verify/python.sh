#!/usr/bin/env bash
# Python: style and format (ruff), types (mypy, strict), layers (import-linter).
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "${root}" || exit
PATH=${root}/.venv/bin:${PATH}

failed=0
run() { "$@" || failed=1; }
# One cache for all: a cache beside the launchers would be taken for a part of them.
types() { mypy --no-error-summary --config-file "${root}/python/pyproject.toml" --cache-dir "${root}/.mypy_cache" "$@"; }

places=(python ci launchers examples)
run ruff check --quiet "${places[@]}"
run ruff format --quiet --diff "${places[@]}"
# Each on the import path that it runs with.
(cd python && types --package gateway_provisioners) || failed=1
(cd python/client && types --package gateway_provisioners_client) || failed=1
(cd launchers/python/scripts && types --package kernel_launcher && types launch_ipykernel.py) || failed=1
run types --package ci
(cd python && lint-imports --no-logo) || failed=1
exit "${failed}"
