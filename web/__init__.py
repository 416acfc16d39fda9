"""The HTTP application: two APIs over one core."""
