"""Dual encoders: models that users bring, which embed pictures and texts into one space."""
