"""The gateway's kernels and kernelspecs: start, restart, cull, and share them with other gateways."""
