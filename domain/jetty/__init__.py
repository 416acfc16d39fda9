"""What only the Jetty API has: tasks, their trajectories, cadences, environments."""
