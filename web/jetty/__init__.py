"""The routes of the Jetty API."""
