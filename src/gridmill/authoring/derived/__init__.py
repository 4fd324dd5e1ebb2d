"""Variables that are made of others: by a formula, or of many steps of time.

See `gridmill.model.fields.derived` for what both mean.

Examples
--------
>>> from gridmill import DataVar, Encoding
>>> from gridmill.authoring.derived import wind_speed
>>> def component(name):
...     attrs = {"long_name": name, "units": "m s-1"}
...     return DataVar(name=name, encoding=Encoding(chunks=(24, 10, 10)), attrs=attrs)
>>> DataVar(
...     name="wind_speed",
...     encoding=Encoding(chunks=(24, 10, 10)),
...     attrs={"long_name": "Wind speed", "units": "m s-1"},
...     derived=wind_speed(component("u10"), component("v10")),
... ).sources[0].name
'u10'
"""

from gridmill.authoring.derived.humidity import relative_humidity
from gridmill.authoring.derived.wind import wind_from_direction, wind_speed
from gridmill.model.fields.derived import Aggregation, Derived

__all__ = ["Aggregation", "Derived", "relative_humidity", "wind_from_direction", "wind_speed"]
