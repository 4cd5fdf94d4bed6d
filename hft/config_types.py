"""Config types: what the sections of a config are made of."""

from __future__ import annotations

from typing import Annotated

import msgspec

Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]
Microseconds = Annotated[int, msgspec.Meta(ge=0, le=60_000_000)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=86_400)]
Decimal = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,18}(\.[0-9]{1,18})?$")]
SignedDecimal = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,18}(\.[0-9]{1,18})?$")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,23}$")]
InstrumentName = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{1,12}-[A-Z0-9]{1,12}\.[A-Z][A-Z0-9_]{0,23}$")]
