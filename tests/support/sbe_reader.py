"""Reads SBE market frames as the schema says, field by field and naively."""

import struct
from decimal import Decimal


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value


def value(mantissa, exponent):
    return Decimal(mantissa).scaleb(exponent)


def decode(data):
    """Return the message as a dict; lengths of blocks and groups are taken from the wire."""
    reader = Reader(data)
    block_length, template, schema, version = (reader.take("H") for _ in range(4))
    assert (schema, version) == (1, 0)
    block_end = reader.at + block_length
    message = {"template": template, "eventTime": reader.take("q")}
    names = {10000: ("transactTime",), 10001: ("id",), 10002: ("id",), 10003: ("first", "last")}[template]
    for name in names:
        message[name] = reader.take("q")
    price_exponent, qty_exponent = reader.take("b"), reader.take("b")
    if template == 10001:
        for name, exponent in (("b", price_exponent), ("B", qty_exponent), ("a", price_exponent), ("A", qty_exponent)):
            message[name] = value(reader.take("q"), exponent)
    assert reader.at == block_end
    for name in {10000: ("trades",), 10001: ()}.get(template, ("bids", "asks")):
        row_length, count = reader.take("H"), reader.take("I" if template == 10000 else "H")
        rows = []
        for _ in range(count):
            row_end = reader.at + row_length
            row = [reader.take("q")] if template == 10000 else []
            row += [value(reader.take("q"), price_exponent), value(reader.take("q"), qty_exponent)]
            row += [bool(reader.take("B"))] if template == 10000 else []
            assert reader.at == row_end
            rows.append(tuple(row))
        message[name] = rows
    length = reader.take("B")
    message["symbol"] = data[reader.at :].decode()
    assert len(data) == reader.at + length
    return message
