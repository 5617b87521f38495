"""Files are written whole or not at all."""

import pytest

from pytest_taskleak import files


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report"
    files.write(path, "before")

    def breaks(self, target):
        raise OSError("no space left")

    monkeypatch.setattr("pathlib.Path.replace", breaks)
    with pytest.raises(OSError, match="no space left"):
        files.write(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one_and_its_target_is_written(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before")
    link.symlink_to(target)
    files.write(link, "after")
    assert link.is_symlink()
    assert target.read_text() == "after"


def test_others_may_read_it_as_any_new_file(tmp_path):
    plain, written = tmp_path / "plain", tmp_path / "written"
    plain.write_text("")
    files.write(written, "")
    assert written.stat().st_mode == plain.stat().st_mode


def test_what_utf8_does_not_know_is_escaped(tmp_path):
    path = tmp_path / "report"
    files.write(path, "é \ud800")
    assert path.read_bytes() == b"\xc3\xa9 \\ud800"
