"""How a read model is kept: rows, batches, positions, rebuilds, isolated events."""
