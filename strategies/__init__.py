"""Decisions: one strategy a module, under one contract."""
