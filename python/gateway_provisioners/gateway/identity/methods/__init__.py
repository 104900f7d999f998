"""The ways in which a client shows who it is, a module for each type of `gateway.auth.methods`."""
