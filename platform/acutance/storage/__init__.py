"""What lies in folders and object stores: written whole or not at all, checked, locked, waited for.

`objects` reads and writes by URI, and this room's own names are its functions. `checksum` guards what was written,
`done` notes that work is complete, `outputs` finds where it lies, `disk` and `patience` say what a full disk or an
absent store means, `lock` and `lease` keep others away for a moment or for hours, `scratch` and `leftovers` free what
killed processes left, `download` fetches published files.
"""

from acutance.storage.objects import (
    SCHEMES,
    State,
    count_folder_links,
    delete,
    exists,
    files,
    filesystem,
    folders,
    is_folder,
    is_remote,
    join,
    names,
    open_file,
    read_bytes,
    read_json,
    s3_client,
    s3_errors,
    states,
    tree,
    write_bytes,
    write_json,
)

__all__ = [
    "SCHEMES",
    "State",
    "count_folder_links",
    "delete",
    "exists",
    "files",
    "filesystem",
    "folders",
    "is_folder",
    "is_remote",
    "join",
    "names",
    "open_file",
    "read_bytes",
    "read_json",
    "s3_client",
    "s3_errors",
    "states",
    "tree",
    "write_bytes",
    "write_json",
]
