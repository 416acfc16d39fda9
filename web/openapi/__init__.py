"""The descriptions of the two APIs in OpenAPI."""
