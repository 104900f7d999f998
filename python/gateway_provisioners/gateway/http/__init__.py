"""The gateway's HTTP API: routes, handlers, authentication, and what a start request may ask for."""
