"""What is sent to receivers: endpoints, deliveries, retries, and where a request may go."""
