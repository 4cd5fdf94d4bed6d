"""Transport: bytes and ordering in shared memory; knows nothing of trading."""
