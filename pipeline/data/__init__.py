"""Raw formats, records, splits and tables on disk."""
