"""Values inside mappings and lists, by their paths."""

from __future__ import annotations


def leaves(value, path=()):
    """Give the path of every plain value in nested metadata."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path


def at(root, path):
    """Give the value at a path."""
    for key in path:
        root = root[key]
    return root
