"""Kernels as pods of Kubernetes: the only package that imports the Kubernetes client library."""
