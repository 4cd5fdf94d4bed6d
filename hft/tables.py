"""Tables: turns a config into the record arrays that kernels read, and names back into people's words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.config import Config, ConfigError, Instrument
from hft.decimals import UnitsError, parse_units
from hft.records import FIRM_LIMITS, INSTRUMENT, LIMITS, FeeAsset, StopAction


class Tables(NamedTuple):
    """Row numbers are the config's order."""

    venues: tuple[str, ...]
    instruments: tuple[str, ...]
    symbols: tuple[str, ...]  #: as on the wire, by instrument row
    strategies: tuple[str, ...]
    assets: tuple[str, ...]
    instrument_rows: NDArray[np.void]  #: INSTRUMENT
    limit_rows: NDArray[np.void]  #: LIMITS, by instrument row
    firm: NDArray[np.void]  #: FIRM_LIMITS, one row
    allowed: NDArray[np.int64]  #: [strategy, instrument] -> 1 if the strategy may trade it

    def rows_of_venue(self, venue: str) -> list[int]:
        """Instrument rows at a venue."""
        return [row for row, name in enumerate(self.instruments) if name.rpartition(".")[2].lower() == venue]


def build_tables(config: Config) -> Tables:
    """Every table of `config`; ConfigError names the key whose value does not fit."""
    venues, strategies = tuple(config.venues), tuple(config.strategies)
    names = tuple(config.instruments)
    assets = tuple(dict.fromkeys(asset for name in names for asset in name.rpartition(".")[0].split("-")))
    rows = np.zeros(len(names), INSTRUMENT)
    limits = np.zeros(len(names), LIMITS)
    for i, name in enumerate(names):
        try:
            _fill_instrument(rows[i : i + 1], config.instruments[name], config, name, venues, assets)
            fill_limits(limits[i : i + 1], config, name, rows[i])
        except UnitsError as error:
            raise ConfigError(f"instruments.{name} or limits.{name}: {error}") from error
    allowed = np.zeros((len(strategies), len(names)), np.int64)
    for s, strategy in enumerate(config.strategies.values()):
        for name in strategy.instruments:
            allowed[s, names.index(name)] = 1
    symbols = tuple(instrument.symbol for instrument in config.instruments.values())
    try:
        firm = firm_row(config)
    except UnitsError as error:
        raise ConfigError(f"firm: {error}") from error
    _prove_hierarchy(config, names, limits, firm)
    return Tables(venues, names, symbols, strategies, assets, rows, limits, firm, allowed)


def decimals_of(text: str) -> int:
    """Digits after the point that matter: "0.01" -> 2, "0.0500" -> 2, "10" -> 0."""
    return len(text.partition(".")[2].rstrip("0"))


def _fill_instrument(
    row: NDArray[np.void], instrument: Instrument, config: Config, name: str, venues: tuple[str, ...], assets: tuple[str, ...]
) -> None:
    price_decimals, qty_decimals = decimals_of(instrument.tick), decimals_of(instrument.lot)
    tick_units, lot_units = parse_units(instrument.tick, price_decimals), parse_units(instrument.lot, qty_decimals)
    row["price_decimals"], row["qty_decimals"] = price_decimals, qty_decimals
    row["tick_units"], row["lot_units"] = tick_units, lot_units
    row["ticklot_num"], row["ticklot_den"] = _scaled(tick_units * lot_units, 8 - price_decimals - qty_decimals)
    row["lot_e8_num"], row["lot_e8_den"] = _scaled(lot_units, 8 - qty_decimals)
    row["price_ticks_min"] = 1
    row["price_ticks_max"] = parse_units(instrument.price_max, price_decimals) // tick_units
    row["qty_lots_min"] = 1
    row["qty_lots_max"] = parse_units(instrument.qty_max, qty_decimals) // lot_units
    row["notional_min_e8"] = parse_units(instrument.min_notional, 8)
    row["maker_fee_e8"] = parse_units(instrument.maker_fee, 8)
    row["taker_fee_e8"] = parse_units(instrument.taker_fee, 8)
    pair, _, venue = name.rpartition(".")
    base, quote = pair.split("-")
    row["base_rate_e8"] = parse_units(config.firm.rates[quote], 8)
    row["venue"] = venues.index(venue.lower())
    row["base_asset"], row["quote_asset"] = assets.index(base), assets.index(quote)
    row["trading"] = 1
    row["fee_asset"] = FeeAsset.QUOTE if instrument.fee_asset == "quote" else FeeAsset.BASE


def _scaled(units: int, power: int) -> tuple[int, int]:
    """units * 10**power as a numerator and a power-of-ten denominator."""
    return (units * 10**power, 1) if power >= 0 else (units, 10**-power)


def fill_limits(row: NDArray[np.void], config: Config, name: str, instrument: np.void) -> None:
    """Make a LIMITS row of an instrument's section, in the ticks and lots of its INSTRUMENT row. Raises UnitsError."""
    limits = config.limits[name]
    qty_decimals, lot_units = int(instrument["qty_decimals"]), int(instrument["lot_units"])
    row["order_qty_max_lots"] = parse_units(limits.order_qty_max, qty_decimals) // lot_units
    row["order_notional_max_e8"] = parse_units(limits.order_notional_max, 8)
    row["position_max_lots"] = parse_units(limits.position_max, qty_decimals) // lot_units
    row["open_orders_max"] = limits.open_orders_max
    row["collar_passive_bp"] = limits.collar_passive_bp
    row["collar_through_bp"] = limits.collar_through_bp
    row["book_age_max_ns"] = limits.book_age_max_ms * 1_000_000
    row["duplicate_window_ns"] = limits.duplicate_window_ms * 1_000_000
    row["move_max_bp"] = limits.move_max_bp
    row["move_window_ns"] = limits.move_window_ms * 1_000_000
    row["divergence_max_bp"] = limits.divergence_max_bp
    row["reference_max_bp"] = limits.reference_max_bp
    row["reference_window_ns"] = limits.reference_window_ms * 1_000_000
    row["closed_pause_ns"] = limits.closed_pause_ms * 1_000_000
    row["stop_loss_bp"] = limits.stop_loss_bp
    row["stop_action"] = StopAction.CLOSE if limits.stop_loss_action == "close" else StopAction.HOLD


def firm_row(config: Config) -> NDArray[np.void]:
    """The FIRM_LIMITS row. Raises UnitsError."""
    firm = np.zeros(1, FIRM_LIMITS)
    firm["gross_max_e8"] = parse_units(config.firm.gross_max, 8)
    firm["net_max_e8"] = parse_units(config.firm.net_max, 8)
    firm["concentration_max_percent"] = config.firm.concentration_max_percent
    firm["daily_loss_max_e8"] = parse_units(config.firm.daily_loss_max, 8)
    firm["intent_age_max_ns"] = config.firm.intent_age_max_ms * 1_000_000
    firm["send_age_max_ns"] = config.firm.send_age_max_ms * 1_000_000
    firm["strategy_rate_per_s"] = config.firm.strategy_orders_per_s
    firm["firm_rate_per_s"] = config.firm.firm_orders_per_s
    firm["unknown_orders_max"] = config.firm.unknown_orders_max
    firm["fills_max"], firm["fills_window_ns"] = config.firm.fills_max, config.firm.fills_window_ms * 1_000_000
    firm["rejects_max"], firm["rejects_window_ns"] = config.firm.rejects_max, config.firm.rejects_window_ms * 1_000_000
    firm["late_after_ns"], firm["late_max"] = config.firm.late_after_us * 1000, config.firm.late_max
    firm["late_window_ns"] = config.firm.late_window_ms * 1_000_000
    firm["filled_expected_e8"], firm["filled_max_percent"] = parse_units(config.firm.filled_expected, 8), config.firm.filled_max_percent
    firm["filled_window_ns"] = config.firm.filled_window_ms * 1_000_000
    firm["messages_per_fill_max"] = config.firm.messages_per_fill_max
    firm["messages_window_ns"] = config.firm.messages_window_ms * 1_000_000
    firm["fee_max_percent"] = config.firm.fee_max_percent
    firm["clock_offset_max_ns"] = config.firm.clock_offset_max_ms * 1_000_000
    firm["drawdown_max_e8"] = parse_units(config.firm.drawdown_max, 8)
    firm["loss_rate_max_e8"] = parse_units(config.firm.loss_rate_max, 8)
    firm["loss_rate_window_ns"] = config.firm.loss_rate_window_ms * 1_000_000
    return firm


def _prove_hierarchy(config: Config, names: tuple[str, ...], limits: NDArray[np.void], firm: NDArray[np.void]) -> None:
    for i, name in enumerate(names):
        if limits[i]["order_qty_max_lots"] > limits[i]["position_max_lots"]:
            section = config.limits[name]
            raise ConfigError(f"limits.{name}.order_qty_max: {section.order_qty_max} is over position_max {section.position_max}")
    if firm[0]["net_max_e8"] > firm[0]["gross_max_e8"]:
        raise ConfigError(f"firm.net_max: {config.firm.net_max} is over gross_max {config.firm.gross_max}")
