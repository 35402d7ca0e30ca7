"""The gate, the servable model, versions and rollback: what becomes of a trained model."""
