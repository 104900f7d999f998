"""Who a client is: credentials, the methods that check them, and the identity that they show."""
