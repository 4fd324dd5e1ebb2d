"""Where things of the repository are that tests read."""

from __future__ import annotations

from pathlib import Path

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parents[1]
README = ROOT / "README.md"
# Has the complete example of a dataset; the README has a shorter one.
AUTHORS_GUIDE = ROOT / "docs" / "guides" / "write-a-dataset.md"
