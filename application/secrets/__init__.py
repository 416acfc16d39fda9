"""The vault, where secrets are kept encrypted, and the ring of its keys."""
