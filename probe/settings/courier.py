"""The frozen settings of a courier: one way of telling people and their tools."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from probe.settings.kinds import (
    NAME_PATTERN,
    CaFile,
    Duration,
    Headers,
    Labels,
    Secret,
    SecretUrl,
    check_courier_url,
    refuse,
    refuse_all,
)
from probe.settings.surface import Frozen, named

LABELS_MAX = 30
HEADERS_MAX = 30
# What the program says itself.
HEADERS_WRITTEN = frozenset(
    {
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "sev1probe-signature",
        "sev1probe-timestamp",
        "transfer-encoding",
    }
)
LABELS_WRITTEN = frozenset({"alertname", "target", "issue", "severity", "line", "vantage"})


class Courier(Frozen):
    """One way of telling."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    kind: Literal["alertmanager", "webhook", "apprise"]
    url: SecretUrl
    secret: Secret | None = None
    headers: Headers = Field(default_factory=dict, max_length=HEADERS_MAX)
    labels: Labels = Field(default_factory=dict, max_length=LABELS_MAX)
    repeat_s: Duration = named("repeat", 60.0, ge=1, le=3_600)
    timeout_s: Duration = named("timeout", 10.0, ge=0.1, le=60)
    ca_file: CaFile = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        refusals = []
        if self.kind != "apprise":
            try:
                check_courier_url(self.url.get_secret_value())
            except PydanticCustomError as error:
                context = error.context or {}
                found = context["found_text"] or "a value (not shown)"
                refusals.append(refuse(context["expected"], found=found, field="url"))
        if self.kind == "webhook" and self.secret is None:
            refusals.append(refuse("a secret that each message is signed with", found="nothing", field="secret"))
        if self.kind != "webhook" and self.secret is not None:
            refusals.append(refuse(f"no secret, because kind is {self.kind}", found="one", field="secret"))
        if self.kind != "alertmanager" and self.labels:
            refusals.append(refuse(f"no labels, because kind is {self.kind}", found="some", field="labels"))
        if self.kind == "apprise" and self.headers:
            refusals.append(refuse("no headers, because kind is apprise", found="some", field="headers"))
        if taken := sorted({name.lower() for name in self.headers} & HEADERS_WRITTEN):
            refusals.append(refuse(f"no {taken[0]}, which the program writes", found="one", field="headers"))
        if taken := sorted(LABELS_WRITTEN & set(self.labels)):
            refusals.append(refuse(f"no {taken[0]}, which the program writes", found="one", field="labels"))
        refuse_all(refusals)
        return self
