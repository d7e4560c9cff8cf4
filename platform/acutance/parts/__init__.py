"""Named parts: a name in a file stands for a class or a function, which is imported when it is needed.

A part is named in one of four ways: by a name of ours (`names`), by a name that an installed package offers through an
entry point, as `package.module:Name`, or as `./my_parts.py:Name` (`sources`). `protocols` says what each kind of part
must be; `acutance check` (`commands.check`) tests a part for it.
"""

from acutance.parts.resolve import Registry, exists, find, names, origin
from acutance.parts.sources import Source, with_sources

__all__ = ["Registry", "Source", "exists", "find", "names", "origin", "with_sources"]
