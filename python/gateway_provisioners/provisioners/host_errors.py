"""Errors in the words and the type that hosts of jupyter_client pass on to users."""

from __future__ import annotations

from tornado import web

from gateway_provisioners.errors import GatewayProvisionersError, LaunchFailed


def of_kernel(
    error: GatewayProvisionersError, name: str, kernel_id: str
) -> GatewayProvisionersError:
    """`error`, in words that say which kernel it happened to."""
    if not isinstance(error, LaunchFailed):
        return error
    told = LaunchFailed(error.reason, f"Kernel {name!r} ({kernel_id}) did not start. {error}")
    told.__cause__ = error
    return told


def as_http_error(error: GatewayProvisionersError) -> web.HTTPError:
    """`error` as hosts know it: they answer an HTTPError with its words, and anything else without."""
    return web.HTTPError(error.http_status, str(error))
