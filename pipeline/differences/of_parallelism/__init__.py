"""What difference parallelism alone is made of."""
