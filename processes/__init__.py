"""Stages, transports, the supervisor and the command line: all I/O is here."""
