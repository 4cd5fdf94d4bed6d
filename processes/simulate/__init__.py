"""Simulate: the engine's stages and the venues' simulators in one thread, under a virtual clock, with faults from a seed."""
