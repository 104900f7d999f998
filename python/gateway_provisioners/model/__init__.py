"""Pure data: launch request, names, connection info, manifests. No I/O, no clock, no environment."""
