"""What the archives of NOAA's models say of who made the data."""

from __future__ import annotations

__all__ = ["NCEP"]

NCEP = {
    "creator_name": "NOAA National Centers for Environmental Prediction",
    "creator_type": "institution",
    "creator_url": "https://www.ncep.noaa.gov",
}
