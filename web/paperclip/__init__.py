"""The routes of the Paperclip API."""
