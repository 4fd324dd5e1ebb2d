"""What is said of runs, plans, archives and validations, in the terminal and on pages. Pure.

Each thing is worded once: as facts (a label, a text), tables and a verdict. The terminal shows them
through `gridmill.display.terminal`, notebooks and pages through templates.

See Also
--------
gridmill.display.html : renders the templates.
"""
