"""What a device runs: configuration, assembly, the loop, the daemon, and what they record."""
