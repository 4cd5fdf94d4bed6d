"""Simulators play the venues: the public protocols of venues as sans-I/O state machines, for any client."""
