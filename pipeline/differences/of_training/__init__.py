"""What difference training alone is made of."""
