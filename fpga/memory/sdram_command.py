"""Commands of an SDR SDRAM: (RAS#, CAS#, WE#), with CS# low."""


__all__ = ["NOTHING", "ACTIVATE", "READ", "WRITE", "PRECHARGE", "REFRESH", "MODE", "ALL_BANKS"]

NOTHING, ACTIVATE, READ, WRITE = 0b111, 0b011, 0b101, 0b100
PRECHARGE, REFRESH, MODE = 0b010, 0b001, 0b000

#: Address with which a precharge is for all banks.
ALL_BANKS = 1 << 10
