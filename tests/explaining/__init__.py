"""Tests of `edge_sim.explaining`."""
