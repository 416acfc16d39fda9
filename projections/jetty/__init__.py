"""Read models that only the Jetty API shows."""
