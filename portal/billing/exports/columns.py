"""The columns of FOCUS 1.2 (FinOps Open Cost and Usage Specification), in its order, and ours after them."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["String", "Decimal", "Date/Time", "JSON", "Integer"]
PRECISION, SCALE = 38, 12


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind = "String"


_ORDER = """
AvailabilityZone BilledCost BillingAccountId BillingAccountName BillingAccountType BillingCurrency
BillingPeriodEnd BillingPeriodStart CapacityReservationId CapacityReservationStatus ChargeCategory
ChargeClass ChargeDescription ChargeFrequency ChargePeriodEnd ChargePeriodStart
CommitmentDiscountCategory CommitmentDiscountId CommitmentDiscountName CommitmentDiscountQuantity
CommitmentDiscountStatus CommitmentDiscountType CommitmentDiscountUnit ConsumedQuantity ConsumedUnit
ContractedCost ContractedUnitPrice EffectiveCost InvoiceId InvoiceIssuerName ListCost ListUnitPrice
PricingCategory PricingCurrency PricingCurrencyContractedUnitPrice PricingCurrencyEffectiveCost
PricingCurrencyListUnitPrice PricingQuantity PricingUnit ProviderName PublisherName RegionId RegionName
ResourceId ResourceName ResourceType ServiceCategory ServiceName ServiceSubcategory SkuId SkuMeter
SkuPriceDetails SkuPriceId SubAccountId SubAccountName SubAccountType Tags
"""
_DECIMALS = """
BilledCost CommitmentDiscountQuantity ConsumedQuantity ContractedCost ContractedUnitPrice EffectiveCost
ListCost ListUnitPrice PricingCurrencyContractedUnitPrice PricingCurrencyEffectiveCost
PricingCurrencyListUnitPrice PricingQuantity
"""
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(_DECIMALS.split(), "Decimal"),
    "BillingPeriodEnd": "Date/Time",
    "BillingPeriodStart": "Date/Time",
    "ChargePeriodEnd": "Date/Time",
    "ChargePeriodStart": "Date/Time",
    "SkuPriceDetails": "JSON",
    "Tags": "JSON",
}

FOCUS = tuple(Column(name, _KINDS.get(name, "String")) for name in _ORDER.split())

OWN = (
    Column("x_RequestCount", "Integer"),
    Column("x_GpuSeconds", "Decimal"),
    Column("x_Meter"),
    Column("x_AppId"),
    Column("x_AppName"),
    Column("x_Alias"),
    Column("x_AdapterVersionId"),
    Column("x_AdapterName"),
    Column("x_BaseModel"),
    Column("x_RateId"),
)
"""Requests and GPU-seconds stand on one line of each group, so that the columns sum to the totals."""

COLUMNS = FOCUS + OWN
