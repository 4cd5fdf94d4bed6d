"""Cell: the latest value comes back whole, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from shm.cell import local_cell, read, write
from shm.layout import CELL_WORDS, VERSION, cell_bytes

RECORD = np.dtype([("a", "<i8"), ("b", "<i8", (7,))])


@pytest.fixture(params=["compiled", "python"])
def body(request):
    return (lambda kernel: kernel) if request.param == "compiled" else (lambda kernel: getattr(kernel, "py_func", kernel))


def row(first):
    rows = np.zeros(2, RECORD)
    rows[1] = (first, range(7))
    return rows


def test_a_new_cell_reads_as_zeros(body):
    target = row(5)
    assert body(read)(local_cell(RECORD), target, 1) == 1
    assert target[1] == np.zeros(1, RECORD)[0]


def test_the_last_write_is_read(body):
    cell, target = local_cell(RECORD), np.zeros(2, RECORD)
    for first in (1, 2, 3):
        body(write)(cell, row(first), 1)
    assert body(read)(cell, target, 0) == 1
    assert target[0] == row(3)[1]
    assert cell[VERSION] == 6


def test_a_cell_being_written_is_torn(body):
    cell, target = local_cell(RECORD), np.zeros(1, RECORD)
    body(write)(cell, row(1), 1)
    cell[VERSION] += 1
    assert body(read)(cell, target, 0) == 0


def test_a_writer_after_a_dead_one_leaves_a_readable_cell_only_on_an_even_version(body):
    cell, target = local_cell(RECORD), np.zeros(1, RECORD)
    cell[VERSION] = 3
    body(write)(cell, row(9), 1)
    assert body(read)(cell, target, 0) == 0


def test_a_row_of_a_table_of_cells_is_a_cell(body):
    table = np.zeros((3, cell_bytes(RECORD) // 8), np.int64)
    body(write)(table[1], row(4), 1)
    assert table[1][CELL_WORDS] == 4
    assert not table[0].any() and not table[2].any()
