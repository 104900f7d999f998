"""The gateway's HTTP API: routes, handlers, authentication, and the parser of start requests."""
