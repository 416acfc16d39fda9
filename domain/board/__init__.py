"""Companies and what belongs to them: members and keys, agents, projects, goals, issues."""
