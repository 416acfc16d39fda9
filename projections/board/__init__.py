"""Read models of companies, members, keys, agents, projects, goals, issues, and of the bytes that companies filled."""
