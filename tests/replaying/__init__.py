"""Tests of `edge_sim.replaying`."""
