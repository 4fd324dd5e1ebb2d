"""Statistics of an archive's values: from its records, for its readers, as a table."""
