"""Use cases on companies, members, keys, agents, projects, goals and issues."""
