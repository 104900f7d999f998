"""Reports of launched kernels to the gateway, and the gateway's commands to them."""
