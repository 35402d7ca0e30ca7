"""What difference sharing alone is made of."""
