"""Companies and what they keep: members and keys, agents, projects, goals, issues."""
