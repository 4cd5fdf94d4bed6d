"""Transports: move bytes between sockets and the buffers that codecs and stages touch."""
