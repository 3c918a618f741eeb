"""The outside world: sources of frames, sinks for events, and the outbox between them."""
