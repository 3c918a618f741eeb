"""What `tools/fuzz.py` feeds: one module for each thing that takes what others wrote."""
