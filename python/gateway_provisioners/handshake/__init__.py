"""How a launched kernel tells the gateway where it listens, and how the gateway commands it."""
