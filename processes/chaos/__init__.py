"""Chaos: an engine trades at a simulated venue that misbehaves every few seconds, and is compared with the venue after each fault."""
