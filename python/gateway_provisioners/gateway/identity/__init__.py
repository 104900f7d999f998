"""The identity of clients: credentials, the methods that check them, and the users that they show."""
