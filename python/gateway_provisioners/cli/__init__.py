"""jupyter k8s-spec, docker-spec and image-bootstrap: flags and exit codes."""
