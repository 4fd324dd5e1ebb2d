"""Source files at their providers: download them, read them."""
