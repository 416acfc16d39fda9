"""Read models of endpoints, and of deliveries on their way."""
