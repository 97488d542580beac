"""How an entry of a larger file is written in one line, as a table's image column holds it.

`kind://FILE#ENTRY`, where FILE is a path or URI as it stands and ENTRY has its `%` and `#` escaped:
`tar://shards/000.tar#cat/1.jpg`, `parquet://s3://bucket/cells.parquet#image:17`. The file comes
first, so that entries of one folder share what a table calls its root. Knows no format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast, get_args

Kind = Literal["tar", "parquet", "arrow", "slide"]
KINDS: frozenset[str] = frozenset(get_args(Kind))


class Address(NamedTuple):
    """An entry of a file.

    Args:
        kind: of the file.
        file: its path or URI.
        entry: which part of it, as the module of that kind writes it.
    """

    kind: Kind
    file: str
    entry: str

    def __str__(self) -> str:
        return f"{front(self.kind, self.file)}{escaped(self.entry)}"


def front(kind: Kind, file: str) -> str:
    """What stands before the entry: `tar://shards/000.tar#`."""
    return f"{kind}://{file}#"


def escaped(entry: str) -> str:
    """The entry without a `#` of its own, so that the last one of an address ends the file."""
    return entry.replace("%", "%25").replace("#", "%23")


def unescaped(entry: str) -> str:
    """What `escaped` was given."""
    return entry.replace("%23", "#").replace("%25", "%")


def common_front(kind: Kind, files: Sequence[str]) -> str:
    """What the addresses of entries in these files have in common: the kind and a folder.

    Example:
        >>> common_front("tar", ["set/train/000.tar", "set/test/000.tar"])
        'tar://set/'
    """
    folders = [file.split("/")[:-1] for file in files]
    common = 0
    while all(len(one) > common for one in folders) and len({one[common] for one in folders}) == 1:
        common += 1
    return f"{kind}://" + "".join(f"{part}/" for part in folders[0][:common])


def shown(image: str) -> str:
    """An image in a message: the name of its file, and which part of it.

    Example:
        >>> shown("parquet://cells/a.parquet#image:17"), shown("cells/17.png")
        ('a.parquet#image:17', '17.png')
    """
    address = address_of(image)
    file, entry = (image, "") if address is None else (address.file, f"#{address.entry}")
    return (file.rstrip("/").rpartition("/")[2] or file) + entry


def address_of(image: str) -> Address | None:
    """The entry that a table's image stands for; None for a file.

    Example:
        >>> address_of("tar://shards/000.tar#cat/1.jpg")
        Address(kind='tar', file='shards/000.tar', entry='cat/1.jpg')
        >>> address_of("s3://bucket/cat/1.jpg") is None
        True
    """
    kind, separator, rest = image.partition("://")
    if not separator or kind not in KINDS:
        return None
    file, hash_sign, entry = rest.rpartition("#")
    if not hash_sign:
        return None
    return Address(cast(Kind, kind), file, unescaped(entry))
