"""Kernels of a Jupyter gateway, for the Jupyter clients of this machine."""

from gateway_provisioners_client._version import __version__

__all__ = ["__version__"]
