"""Final stores: where readers read."""
