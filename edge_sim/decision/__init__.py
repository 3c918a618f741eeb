"""From a probe to a state change: features, scores, thresholds, rules, drift, the pipeline."""
