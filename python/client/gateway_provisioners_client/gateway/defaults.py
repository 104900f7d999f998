"""The names and defaults that options, variables and documentation share."""

# What jupyter_server's gateway client reads too.
TOKEN_VARIABLE = "JUPYTER_GATEWAY_AUTH_TOKEN"  # noqa: S105 - a variable's name
HEADERS_VARIABLE = "JUPYTER_GATEWAY_HEADERS"

AUTH_HEADER = "Authorization"
AUTH_SCHEME = "token"
REQUEST_TIMEOUT = 40.0
TOKEN_SECONDS = 300.0
