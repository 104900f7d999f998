"""Programs: `jupyter k8s-spec`, `docker-spec` and `image-bootstrap`, launch scripts, and what the chart runs."""
