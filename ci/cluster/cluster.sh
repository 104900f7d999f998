#!/bin/sh
# Builds the cluster program if its sources changed (a second), and runs it with the arguments given.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${GP_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or GP_CACHE}/.cache}/gateway-provisioners}
command -v go >/dev/null || { echo "cluster: Go is missing: install Go 1.24 or newer" >&2; exit 1; }
case $cache in
/*) ;;
*) echo "cluster: GP_CACHE=$cache must be an absolute path" >&2; exit 2 ;;
esac
# Two checkouts may make clusters in different ways: each has a program of its own.
program=$cache/program-$(printf %s "$here" | cksum | cut -d ' ' -f 1)
mkdir -p "$cache"
go build -C "$here" -o "$program" .
GP_CLUSTER_SOURCE=$here exec "$program" "$@"
