"""The programs `jupyter k8s-spec`, `docker-spec` and `image-bootstrap`, launch scripts, and the chart's."""
