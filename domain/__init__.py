"""What is true: events, the values they carry, and one pure module for each rule. Imports nothing of ours."""
