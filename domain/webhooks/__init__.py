"""Secrets and signatures: of webhooks that call us, and of what we send."""
