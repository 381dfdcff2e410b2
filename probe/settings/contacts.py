"""Who calls whom when a Critical Issue opens, by the settings."""

from probe.core.calendar import BusinessHours
from probe.core.callsheet import Contacts
from probe.core.case_obligations import CasePledges
from probe.core.obligations import Pledges
from probe.core.tam import Card, card_of
from probe.service_zones import business_hours
from probe.settings.model import SECOND_US, Contract, Settings


def contract_of(settings: Settings, target: str) -> Contract | None:
    """Give the contract of a target; None if it is not configured (any more)."""
    return next((one.contract for one in settings.targets if one.name == target), None)


def pledges_of(settings: Settings | None, target: str) -> Pledges:
    """Give what was agreed for a target; by the defaults where nothing is known of it."""
    contract = None if settings is None else contract_of(settings, target)
    return Pledges() if contract is None else contract.pledges()


def business_hours_of(settings: Settings, target: str) -> BusinessHours:
    """Give the Business Hours of a target; by the defaults if it is not there."""
    contract = contract_of(settings, target) or Contract()
    return business_hours(contract.service_zone, contract.exceptions())


def tam_of(settings: Settings | None, target: str, now_us: int) -> Card | None:
    """Give the card of a target's Technical Account Manager as of now; None where nothing is known of him."""
    if settings is None:
        return None
    return card_of(contacts_of(settings, target), business_hours_of(settings, target), now_us)


def case_pledges_of(settings: Settings, target: str) -> CasePledges:
    """Give what was agreed of Support Cases, in the Business Hours of a target; by the defaults if it is not there."""
    return CasePledges(
        hours=business_hours_of(settings, target),
        respond_within_us=round(settings.cases.respond_within_s * SECOND_US),
        update_every_us=round(settings.cases.update_every_s * SECOND_US),
    )


def contacts_of(settings: Settings | None, target: str) -> Contacts:
    """Give all that a call sheet says of people; "" where nothing is known."""
    if settings is None:
        return Contacts()
    company = settings.company
    contract = contract_of(settings, target) or Contract()
    return Contacts(
        company=company.name,
        contact_name=company.contact_name,
        contact_phone=company.contact_phone,
        contact_email=company.contact_email,
        severity_1_line=contract.severity_1_line,
        tam_name=contract.tam.name,
        tam_phone=contract.tam.phone,
        tam_email=contract.tam.email,
    )
