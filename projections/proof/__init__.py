"""The Merkle trees of the log, as tables that follow it, and what is read of them to prove something."""
