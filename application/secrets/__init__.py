"""The vault, which keeps secrets encrypted, and the ring of the keys that encrypt it."""
