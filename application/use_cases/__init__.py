"""What can be asked of the system: a module per resource, a function per question."""
