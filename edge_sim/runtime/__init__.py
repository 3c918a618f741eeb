"""Runtime of a device: configuration, assembly, frame loop, daemon and recorders."""
