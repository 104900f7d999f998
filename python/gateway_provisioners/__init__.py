"""Jupyter kernels as Kubernetes pods and Docker containers."""

from gateway_provisioners._version import __version__

__all__ = ["__version__"]
