"""Comparison of edge_sim with other methods."""
