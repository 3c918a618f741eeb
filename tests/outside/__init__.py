"""Parts from outside edge_sim, one file each, as another package would bring them."""
