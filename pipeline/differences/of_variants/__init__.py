"""Parts of the difference variants that no other difference uses."""
