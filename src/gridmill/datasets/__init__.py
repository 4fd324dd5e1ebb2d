"""Datasets that come with gridmill; they import only what an outsider may."""
