"""The scheduler on a clock of our own, with faults and an oracle: `make simulate`. Not part of the service."""
