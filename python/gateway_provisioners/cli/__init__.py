"""jupyter k8s-spec and image-bootstrap: flags and exit codes."""
