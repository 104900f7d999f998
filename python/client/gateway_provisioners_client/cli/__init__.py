"""The command `jupyter gateway-spec`: options, output, exit codes, and the kernelspecs that it writes."""
