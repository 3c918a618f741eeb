"""Daemon: many cameras, one loop, an outbox, and a state file; made to run all year.

Daemon(config, reload=lambda: load_config("config.yaml")).run()
"""
