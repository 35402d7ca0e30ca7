"""A training pipeline: two families of networks, the same data, one fair comparison."""
