"""What monitoring sees: health, metrics, traces of requests."""
