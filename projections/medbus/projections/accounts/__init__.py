"""The account catalog: price lists, fees, closed periods, invoices, payments and balances."""

from medbus.projections.accounts.account import (
    Account,
    Balance,
    ClosedPeriod,
    StoredFee,
    StoredInvoice,
    StoredPayment,
)
from medbus.projections.accounts.projection import AccountProjection
from medbus.projections.accounts.reader import AccountReader

__all__ = [
    "Account",
    "AccountProjection",
    "AccountReader",
    "Balance",
    "ClosedPeriod",
    "StoredFee",
    "StoredInvoice",
    "StoredPayment",
]
