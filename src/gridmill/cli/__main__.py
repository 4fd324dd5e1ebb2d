"""``python -m gridmill.cli``."""

from gridmill.cli import main

main()
