"""Archives and CSVs of reviews, as the tests of several files write them."""

import io
import tarfile
from pathlib import Path

REVIEWS = {
    "aclImdb/train/pos/0_9.txt": "A great film. Great!",
    "aclImdb/train/pos/10_10.txt": "I loved it",
    "aclImdb/train/pos/2_7.txt": "Good — très bon",
    "aclImdb/train/neg/0_1.txt": "A bad film",
    "aclImdb/train/neg/1_2.txt": "Dull<br />and bad",
    "aclImdb/test/pos/0_8.txt": "A great surprise",
    "aclImdb/test/neg/0_3.txt": "Bad",
}
OTHERS = {
    "aclImdb/README": "read me",
    "aclImdb/train/unsup/0_0.txt": "no label",
    "aclImdb/train/urls_pos.txt": "http://example.org",
    "aclImdb/train/labeledBow.feat": "9 0:9",
    "other/train/pos/0_9.txt": "not ours",
}
COMPRESSED = {"tar": "w", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


def regular(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member, data


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """A link, a device, a folder."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def write_archive(path: Path, *extra, files=None, mode="w:xz") -> Path:
    """Write texts by name, and members with their bytes after them."""
    files = {**REVIEWS, **OTHERS} if files is None else files
    members = [regular(name, text.encode()) for name, text in files.items()]
    with tarfile.open(path, mode) as tar:
        for member, data in [*members, *extra]:
            tar.addfile(member, io.BytesIO(data))
    return path


def write_folder(root: Path) -> Path:
    for name, text in {**REVIEWS, **OTHERS}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


def write_csv(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path
