"""`jupyter k8s-spec` and `jupyter docker-spec`: install kernelspecs."""
