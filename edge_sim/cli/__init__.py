"""The `edge-sim` command: one module per group of verbs."""
