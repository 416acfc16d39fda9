"""Why an occurrence did or did not run, as a verdict and in sentences."""
