"""Who calls, and who is called: what stands on a call sheet."""

from probe.settings.kinds import Line, MaybeMailAddress, Phone
from probe.settings.surface import Frozen


class Company(Frozen):
    """Who calls: what the provider asks for on the phone."""

    name: Line = ""
    contact_name: Line = ""
    contact_phone: Phone = ""
    contact_email: MaybeMailAddress = ""


class Tam(Frozen):
    """The provider's Technical Account Manager."""

    name: Line = ""
    phone: Phone = ""
    email: MaybeMailAddress = ""
