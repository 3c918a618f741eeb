"""From a region of a frame to a probe: crop, mask, gate, light, scene, alignment, embedding."""
