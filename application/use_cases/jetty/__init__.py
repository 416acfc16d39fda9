"""Use cases that only the Jetty API has: collections, tasks, routines that call one, trajectories."""
