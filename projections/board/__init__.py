"""Read models of companies, members, keys, agents, projects, goals, issues, and of what quotas count."""
