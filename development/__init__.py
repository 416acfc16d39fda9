"""What those who change the code run: the system that starts again by itself, the page of all events."""
