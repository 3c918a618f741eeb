"""The `edge-sim` command: argument parsing and printing, one module per group of verbs."""
