"""A report begins with what its order says of itself, and with nothing of the report that stood there before."""

from __future__ import annotations

import numpy as np

from hft.records import ORDER, REPORT
from hft.reports import begin_report

#: Fields that a report has from its order.
SHARED = set(ORDER.names) & set(REPORT.names) - {"reserved", "kind"}


def test_begun_report_has_the_orders_fields_and_nothing_left_of_an_older_report() -> None:
    orders, reports = np.zeros(2, ORDER), np.zeros(3, REPORT)
    for n, name in enumerate(ORDER.names):
        orders[1][name] = 100 + n
    untouched = reports.copy()
    for name in set(REPORT.names) - {"reserved"}:
        reports[2][name] = -7
    begin_report(reports, 2, orders, 1)
    for name in set(REPORT.names) - {"reserved", "kind", "state"}:
        assert reports[2][name] == (orders[1][name] if name in SHARED else 0), name
    assert (reports[:2] == untouched[:2]).all()
