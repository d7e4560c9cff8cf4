"""Files in folders and object stores.

`objects` reads and writes by URI; its functions are exported here. `checksum`: checksums of files; `done`: notes that
work is complete; `outputs`: the folders of outputs; `disk`: errors of full and read-only disks; `patience`: retries
while a store does not answer; `lock`: file locks; `lease`, `lease_stores`: one process at a time on long work;
`scratch`, `leftovers`: temporary files and their deletion; `published`, `download`: published files.
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
