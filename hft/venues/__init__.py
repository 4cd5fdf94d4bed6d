"""Venues: translates each venue's messages to records and back; text in, integers out, no I/O."""
