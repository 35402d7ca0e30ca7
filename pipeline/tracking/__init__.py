"""What goes to MLflow and how it gets there even when the server is away. Imports no torch."""
