"""Parts of the difference parallelism that no other difference uses."""
