"""What the gateway process loads: kernels, kernelspecs, websockets, health and metrics."""
