"""The trading core: records, pure kernels, venue codecs and sans-I/O state machines."""
