"""What an operator does: one module for each group of commands."""
