"""What the APIs say of themselves."""
