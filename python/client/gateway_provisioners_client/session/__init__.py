"""A kernel of a gateway over a websocket that is resumed when it is lost; knows no local client."""
