"""Parts of the difference sharing that no other difference uses."""
