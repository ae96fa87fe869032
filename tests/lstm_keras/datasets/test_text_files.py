"""Text files, each written by a test that says what is in it."""

import bz2
import gzip
import lzma
import tracemalloc

import pytest

from lstm_keras.datasets import text_files
from lstm_keras.datasets.text_files import paragraphs, read_lines

COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
TEXT = "First line\n\n  Zweite – Zeile\n".encode() * 50


def test_every_kind_of_line_end_ends_a_line_and_nothing_else_does(tmp_path):
    path = tmp_path / "a.text"
    path.write_bytes("\ufeffone\ntwo\r\n\r\nthree\rfour\u2028\x0b \n\nfive".encode())
    lines = ["one", "two", "", "three", "four\u2028\x0b ", "", "five"]
    assert list(read_lines(path)) == lines
    assert list(read_lines(str(path))) == lines


def test_an_empty_file_has_no_lines(tmp_path):
    (tmp_path / "a.txt").touch()
    assert list(read_lines(tmp_path / "a.txt")) == []


@pytest.mark.parametrize("suffix", [*COMPRESS, ".GZ"])
def test_a_compressed_file_has_the_lines_of_the_plain_one(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix.lower()](TEXT))
    assert list(read_lines(path)) == TEXT.decode().split("\n")[:-1]


def test_a_folder_gives_its_texts_by_name_with_a_blank_line_after_each(tmp_path):
    (tmp_path / "b.TXT").write_text("b")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfa\n"))
    (tmp_path / "c.txt").write_text("c 1\nc 2\n")
    (tmp_path / "a.md").write_text("not ours")
    (tmp_path / "d.txt").mkdir()
    assert list(read_lines(tmp_path)) == ["a", "", "b", "", "c 1", "c 2", ""]


def test_a_missing_file_is_refused_before_the_first_line_is_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected a text file.*none\.txt"):
        read_lines(tmp_path / "none.txt")


def test_a_long_file_is_never_held_in_memory(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a line of this text\n" * 50_000)  # 1 MB
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_lines(path)) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


def test_paragraphs_are_the_lines_between_blank_ones():
    lines = ["", "one ", "  two", " ", "", "three", "", "four"]
    assert list(paragraphs(lines)) == ["one two", "three", "four"]
    assert list(paragraphs([])) == []


def test_an_endless_paragraph_is_refused(monkeypatch):
    monkeypatch.setattr(text_files, "MAX_LINE", 10)
    assert list(paragraphs(["abcd", "abcd"])) == ["abcd abcd"]
    with pytest.raises(ValueError, match=r"at most 10 characters.*'abcd abcd a"):
        list(paragraphs(["abcd", "abcd", "abcd"]))
