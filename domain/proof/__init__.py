"""What proves the log to strangers: the leaves and hashes of its Merkle trees, and the texts of checkpoints and proofs."""
