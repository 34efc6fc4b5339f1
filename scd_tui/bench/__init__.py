"""Speed and memory, as ratios measured in one run; and the published procedure to compare with."""
