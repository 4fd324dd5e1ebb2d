"""Templates, plans, archives and run reports as plain values for JSON, and as text for people.

Each ``*_content`` gives a dict that `json.dumps` takes; each ``show_*`` turns such a dict into
something that rich prints. So the two can never disagree.
"""
