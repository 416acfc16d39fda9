"""Fault campaigns: what the service promises, while everything around it is cut, killed, frozen and lied to."""
