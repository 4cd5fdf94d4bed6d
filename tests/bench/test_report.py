"""Bench report: names machine, sources and outcome."""

from __future__ import annotations

import os
import shutil

import pytest

from processes.bench import report


def test_the_machine_is_named():
    machine = report.machine()
    assert machine["cpu"]
    assert 1 <= machine["cores_usable"] <= machine["cores"]
    assert {"kernel", "python", "numba", "numpy"} <= set(machine)


def test_sources_outside_a_repository_have_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "_ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert report.git() == {"commit": None, "changed": None}


def test_a_machine_without_git_has_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert report.git() == {"commit": None, "changed": None}


def test_the_hash_depends_on_the_outcome_and_not_on_the_order_of_its_keys():
    assert report.result_hash({"a": 1, "b": 2}) == report.result_hash({"b": 2, "a": 1}) != report.result_hash({"a": 1, "b": 3})
    assert len(report.result_hash(None)) == 16


def test_the_document_keeps_what_was_measured():
    document = report.finish("x", {"a": 1}, None, {"r": 2.0}, outcome=5)
    assert (document["bench"], document["results"], document["floor"], document["ratio"]) == ("x", {"a": 1}, None, {"r": 2.0})
    assert document["hash"] == report.result_hash(5)
    assert {"machine", "git"} <= set(document)


@pytest.mark.skipif(not any(map(shutil.which, report.COMPILERS)), reason="no C compiler")
def test_a_reference_that_does_not_compile_is_an_error(tmp_path):
    source = tmp_path / "broken.c"
    source.write_text("int main(void) { return nothing; }")
    with pytest.raises(report.CompileError, match="broken.c"):
        report.compile_c(source, tmp_path)


def test_without_a_compiler_nothing_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "COMPILERS", ("surely-no-compiler",))
    assert report.compile_c(tmp_path / "x.c", tmp_path) is None


def test_two_cores_are_two_or_none(monkeypatch):
    found = report.two_cores()
    assert found is None or found[0] != found[1]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert report.two_cores() is None


def test_siblings_of_one_core_are_avoided(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setattr(report, "_core_of", lambda cpu: str(cpu // 2))
    assert report.two_cores() == (0, 2)
    monkeypatch.setattr(report, "_core_of", lambda cpu: "same")
    assert report.two_cores() == (0, 1)
