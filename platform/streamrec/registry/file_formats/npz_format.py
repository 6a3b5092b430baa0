"""NumPy's archives of arrays: what each member says of itself, and whether its bytes are there."""

from __future__ import annotations

import math
import zipfile
from typing import IO, BinaryIO, Final

from numpy.lib import format as npy_format

_MAXIMUM_UNPACKED_BYTES: Final = 16 * 1024**3
_MAXIMUM_MEMBERS: Final = 10_000
_READ_BYTES: Final = 1024 * 1024
_COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 0x1
_FIRST_BYTES: Final = b"PK\x03\x04"
"""NumPy looks at these, `zipfile` at the end: a file that is two things at once is refused."""


def npz_problem(file: BinaryIO, _size_bytes: int) -> str | None:
    """Return what is wrong with an archive, or None; an array of objects is a pickle and is refused.

    Every byte is unpacked once and thrown away, a megabyte at a time: what a header says of sizes is compared
    with what is there before anybody reserves memory by it.
    """
    if file.read(len(_FIRST_BYTES)) != _FIRST_BYTES:
        return "not readable as an archive of arrays, or one without arrays"
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if not 0 < len(members) <= _MAXIMUM_MEMBERS:
            return f"holds {len(members)} arrays; 1 to {_MAXIMUM_MEMBERS} are allowed"
        if sum(member.file_size for member in members) > _MAXIMUM_UNPACKED_BYTES:
            return f"unpacks to more than {_MAXIMUM_UNPACKED_BYTES} bytes"
        names = {member.filename for member in members}
        if len(names) < len(members):
            return "holds two arrays of the same name"
        for member in members:
            problem = _header_problem(member) or _array_problem(archive, member)
            if problem is not None:
                return f"the member {member.orig_filename!r} {problem}"
    return None


def _header_problem(member: zipfile.ZipInfo) -> str | None:
    name = member.filename
    # `zipfile` cuts a name at a NUL; `orig_filename` is all of it.
    if member.orig_filename != name or not name.isprintable() or "/" in name or "\\" in name:
        return "has a name that is no array's"
    if not name.endswith(".npy"):
        return "is not an array"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in _COMPRESSIONS:
        return f"is compressed by the method {member.compress_type}; save it with savez or savez_compressed"
    return None


def _array_problem(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str | None:
    with archive.open(member) as content:
        version = npy_format.read_magic(content)
        if version == (1, 0):
            shape, _, dtype = npy_format.read_array_header_1_0(content)
        elif version == (2, 0):
            shape, _, dtype = npy_format.read_array_header_2_0(content)
        else:
            return f"is of the array format {version}; save it as 1.0 or 2.0"
        if dtype.hasobject:
            return "holds pickled objects"
        if any(isinstance(length, bool) or length < 0 for length in shape):
            return f"has the shape {shape}"
        if dtype.itemsize == 0 and math.prod(shape) > 0:
            return "holds values of no bytes"
        expected_bytes = content.tell() + math.prod(shape) * dtype.itemsize
        if expected_bytes != member.file_size:
            return f"has {member.file_size} bytes where its header says {expected_bytes}"
        if content.tell() + _unpacked_bytes(content) != expected_bytes:
            return "has fewer bytes than it says"
    return None


def _unpacked_bytes(content: IO[bytes]) -> int:
    """Read to the end, where `zipfile` compares the checksum."""
    count = 0
    while block := content.read(_READ_BYTES):
        count += len(block)
    return count
