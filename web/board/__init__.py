"""The board: pages for people over what the API reads and does, made of templates (docs/board.md)."""
