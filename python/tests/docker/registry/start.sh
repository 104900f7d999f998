#!/bin/sh
# The one user: $REGISTRY_USER, with $REGISTRY_PASSWORD.
set -eu
printf %s "${REGISTRY_PASSWORD}" | htpasswd -iBc /etc/docker/registry/htpasswd "${REGISTRY_USER}"
unset REGISTRY_PASSWORD
exec docker-registry serve /etc/docker/registry/config.yml
