"""The body of a kernelspec's scripts/launch_*.py: start one kernel by hand."""
