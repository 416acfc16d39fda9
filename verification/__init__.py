"""What proves the promises: fault campaigns against real processes, and a simulation of years."""
