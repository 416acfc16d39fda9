"""Read models of endpoints and of deliveries."""
