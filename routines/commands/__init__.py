"""The commands for operators: one module for each group of commands."""
