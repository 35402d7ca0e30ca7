"""Parts of the difference training that no other difference uses."""
