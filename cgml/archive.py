"""Archives as torch writes them (zip files), read with nothing taken on trust.

The file is bounded by its size, its entries by what they declare, before anything is
unpacked. Every checksum is compared, and headers must be those that the directory
names, one entry after the other without gaps: a bit that changed is found.
"""

import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cgml.files import read_bytes

LARGEST = 1 << 29
"""Bytes of a file, and of its entries together."""
MAX_ENTRIES = 1 << 15

Entries = dict[str, memoryview]
"""Name without the leading folder -> content."""


class ArchiveError(ValueError):
    """An archive is damaged, foreign, unsafe, or too large."""


@contextmanager
def refusing(path: Path | str) -> Iterator[None]:
    """Say in one line, with the name of the file, whatever is raised.

    Args:
        path: of the file that is read.

    Raises:
        ArchiveError: Instead of any other error.
    """
    try:
        yield
    except Exception as error:  # whatever a broken file makes a parser say
        text = " ".join(str(error).split())[:500] or type(error).__name__
        if not isinstance(error, ArchiveError):
            text = f"is damaged: {text}; fetch it anew"
        raise ArchiveError(f"{path} {text}") from error


def read_archive(path: Path | str, *, largest: int = LARGEST) -> Entries:
    """Read all entries of an archive that torch wrote.

    Args:
        path: of the file.
        largest: bytes that the file may have, and all its entries together.

    Returns:
        Every entry, its checksum compared.

    Raises:
        ArchiveError: Not a regular file or no such archive, truncated, too large, or
            not as it was written.
        FileNotFoundError: No such file.
    """
    try:
        content = read_bytes(path, largest)
    except ValueError as error:
        raise ArchiveError(str(error)) from error
    with refusing(path):
        if content.count(b"PK\x01\x02") > MAX_ENTRIES:  # each stands for an entry
            raise ArchiveError(f"must have at most {MAX_ENTRIES:,} entries")
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                infos, directory = archive.infolist(), archive.start_dir
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise ArchiveError(
                f"is truncated or not an archive of torch ({error}): fetch it anew"
            ) from error
        _check_directory(infos, largest)
        entries, end = {}, 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            name = info.filename.partition("/")[2]
            entries[name], end = _read_entry(memoryview(content), info, end)
        if end != directory or not _is_end(content, len(infos), directory):
            raise ArchiveError("is damaged: its end is not right; fetch it anew")
    return entries


def _check_directory(infos: list[zipfile.ZipInfo], largest: int) -> None:
    """Refuse entries that no writer of such files makes, by what they declare."""
    names = [info.filename for info in infos]
    if len({name.partition("/")[0] for name in names}) != 1:
        raise ArchiveError("is not an archive of torch: one folder must hold it all")
    name, n = Counter(names).most_common(1)[0]
    if n > 1:
        raise ArchiveError(f"holds the entry {name!r} twice")
    total = sum(info.file_size for info in infos)
    if total > largest:
        raise ArchiveError(
            f"must unpack to at most {largest:,} bytes, declares {total:,}"
        )
    marks = {
        (
            *(info.create_system, info.create_version, info.reserved, info.volume),
            *(info.internal_attr, info.external_attr, info.comment, info.extra),
        )
        for info in infos
    }
    if len(marks) != 1:
        raise ArchiveError("is damaged: no two entries are alike; fetch it anew")


def _is_end(content: bytes, count: int, directory: int) -> bool:
    """Whether the records after the directory are as torch or Python write them."""
    for wide in (True, False):  # with sizes of 8 bytes, or without
        begin = len(content) - 22 - 76 * wide
        place = (count, count, max(begin - directory, 0), directory)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *place, 0)
        if wide:
            more = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 798, 45, 0, 0, *place)
            end = more + struct.pack("<4sLQL", b"PK\6\7", 0, begin, 1) + end
        if content[begin:] == end:
            return True
    return False


def _read_entry(
    content: memoryview, info: zipfile.ZipInfo, begin: int
) -> tuple[memoryview, int]:
    """Content of one entry and the place after it; `begin`: where it must begin."""
    year, month, day, hour, minute, second = info.date_time
    size, packed = info.file_size, info.compress_size
    is_later = bool(info.flag_bits & 8)  # checksum and sizes stand after the content
    name = info.orig_filename.encode()
    (n_padding,) = struct.unpack("<H", content[begin + 28 : begin + 30])
    padding = b""
    if n_padding:  # so that contents lie at multiples of 64 bytes
        n_fill = max(n_padding - 4, 0)
        padding = b"FB" + struct.pack("<H", n_fill) + b"Z" * n_fill
    header = struct.pack(
        "<4s5H3L2H",
        *(b"PK\3\4", info.extract_version, info.flag_bits, info.compress_type),
        hour << 11 | minute << 5 | second // 2,
        (year - 1980) << 9 | month << 5 | day,
        *((0, 0, 0) if is_later else (info.CRC, packed, size)),
        *(len(name), n_padding),
    )
    start = begin + len(header) + len(name) + n_padding
    stop = start + packed
    end = stop + (16 if is_later else 0)
    later = struct.pack("<4s3L", b"PK\7\x08", info.CRC, packed, size)
    if (
        info.header_offset != begin
        or content[begin:start] != header + name + padding
        or (is_later and content[stop:end] != later)
    ):
        raise ArchiveError(
            f"is damaged: entry {info.filename!r} is not where its directory says, or "
            "not with this header; fetch it anew"
        )
    return _unpack(content[start:stop], info), end


def _unpack(packed: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """Content of an entry, no more than it declares, checksum compared."""
    entry = packed
    if info.compress_type == zipfile.ZIP_DEFLATED:
        # one byte more than declared would tell that there is more
        unpacking = zlib.decompressobj(-15)
        entry = memoryview(unpacking.decompress(packed, info.file_size + 1))
        if unpacking.unused_data:
            raise ArchiveError(f"holds more than the entry {info.filename!r} packed")
    elif info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ArchiveError(f"holds the entry {info.filename!r} encrypted or packed")
    if len(entry) != info.file_size or zlib.crc32(entry) != info.CRC:
        raise ArchiveError(
            f"is damaged: the checksum of entry {info.filename!r} is another; fetch it "
            "anew"
        )
    return entry
