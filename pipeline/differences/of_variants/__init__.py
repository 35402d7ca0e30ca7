"""What difference variants alone is made of."""
