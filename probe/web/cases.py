"""Support Cases through the API: people begin them and tell what happened in them; and when somebody answers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol

from probe import clock
from probe.core.case_happenings import Case, CaseAct, CaseHappening, Cases, Way, named_case
from probe.core.cases import tell_case
from probe.core.happenings import Party
from probe.core.procedure import Refused
from probe.web import case_schemas
from probe.web.issue_schemas import moment_us
from probe.web.operations import PREFIX, Asked, Operation, Reply
from probe.web.problem import ApiProblem
from probe.web.schemas import LivesQuery, TargetQuery

TellCase = Callable[[Cases], CaseHappening]
_CASES: Final = "/cases"
_CASE: Final = f"{_CASES}/{{case}}"


class CaseDesk(Protocol):
    """The Support Cases, as the API asks for them. Each call may raise `Unavailable`."""

    async def targets(self) -> Collection[str]:
        """Name the targets that are known."""

    async def cases(self) -> Cases:
        """Read all, in the order in which they began."""

    async def tell_case(self, decide: TellCase) -> Case:
        """Keep the happening that `decide` makes of the cases; give the case that it leads to.

        Nobody else adds to them meanwhile. What `decide` raises is raised, and nothing is kept.
        """

    async def described_cases(self, cases: Sequence[Case]) -> Sequence[Mapping[str, Any]]:
        """Say of each where it stands, what happened, what is owed now, and whom to escalate to."""

    async def hours(self) -> Sequence[Mapping[str, Any]]:
        """Say of each target that is watched whether it is within Business Hours."""


class SupportCases:
    """Answers what is asked of cases. A case's ETag is its revision: what is owed changes by itself."""

    def __init__(self, desk: CaseDesk) -> None:
        self._desk = desk

    def operations(self) -> tuple[Operation, ...]:
        """Give the table."""
        return (
            *self._reading(),
            Operation(
                name="open_case",
                method="POST",
                path=_CASES,
                summary="Begin a Support Case, or draft one.",
                request=case_schemas.NewCase,
                response=case_schemas.Case,
                status=HTTPStatus.CREATED,
                is_writing=True,
                has_etag=True,
                answer=self._open,
            ),
            Operation(
                name="tell_case",
                method="POST",
                path=f"{_CASE}/happenings",
                summary="Tell what happened in a case: a submission, a reply, an update, an escalation, an agreement.",
                request=case_schemas.NewCaseHappening,
                response=case_schemas.Case,
                status=HTTPStatus.CREATED,
                is_writing=True,
                has_etag=True,
                needs_match=True,
                answer=self._tell,
            ),
        )

    def _reading(self) -> tuple[Operation, ...]:
        return (
            Operation(
                name="list_cases",
                method="GET",
                path=_CASES,
                summary="Support Cases, those that began last first.",
                query=LivesQuery,
                response=case_schemas.Cases,
                answer=self._list,
            ),
            Operation(
                name="case",
                method="GET",
                path=_CASE,
                summary="One Support Case.",
                response=case_schemas.Case,
                has_etag=True,
                is_cacheable=False,
                answer=self._get,
            ),
            Operation(
                name="hours",
                method="GET",
                path="/hours",
                summary="Whether the provider's people are at work now, and when next, by Business Hours.",
                query=TargetQuery,
                response=case_schemas.Hours,
                answer=self._hours,
            ),
        )

    async def _list(self, asked: Asked) -> Reply:
        query: LivesQuery = asked.query
        every = (await self._desk.cases()).values()
        cases = [case for case in every if query.wants(case.target, is_over=bool(case.over_us))]
        cases.reverse()  # The order in which they began, which is not that of the times that people tell.
        return Reply(body={"cases": await self._desk.described_cases(cases[: query.limit])})

    async def _get(self, asked: Asked) -> Reply:
        return await self._reply(_found(await self._desk.cases(), asked.path["case"]))

    async def _hours(self, asked: Asked) -> Reply:
        query: TargetQuery = asked.query
        every = await self._desk.hours()
        return Reply(body={"hours": [one for one in every if query.target in (None, one["target"])]})

    async def _open(self, asked: Asked) -> Reply:
        body: case_schemas.NewCase = asked.body
        if body.target not in await self._desk.targets():
            raise ApiProblem(HTTPStatus.UNPROCESSABLE_ENTITY, "Nothing is recorded: no target has this name.")

        def decide(cases: Cases) -> CaseHappening:
            now_us = clock.wall_us()
            happening = named_case(
                CaseHappening(
                    target=body.target,
                    act=CaseAct.DRAFTED if body.draft else CaseAct.OPENED,
                    at_us=moment_us(body.at) or now_us,
                    recorded_us=now_us,
                    actor=asked.actor,
                    kind=body.kind,
                    title=body.title.strip(),
                    words=body.words.strip(),
                    first_second=body.first_second,
                    last_second=body.last_second,
                )
            )
            return _allowed(cases.get(happening.case), happening)

        case = await self._desk.tell_case(decide)
        reply = await self._reply(case)
        return Reply(body=reply.body, etag=reply.etag, location=f"{PREFIX}{_CASES}/{case.case}")

    async def _tell(self, asked: Asked) -> Reply:
        body: case_schemas.NewCaseHappening = asked.body

        def decide(cases: Cases) -> CaseHappening:
            case, now_us = _found(cases, asked.path["case"]), clock.wall_us()
            asked.check_match(str(case.revision))
            happening = named_case(
                CaseHappening(
                    case=case.case,
                    target=case.target,
                    act=body.act,
                    at_us=moment_us(body.at) or now_us,
                    recorded_us=now_us,
                    actor=asked.actor,
                    words=body.words.strip(),
                    way=Way.DASHBOARD if body.act is CaseAct.SUBMITTED else None,
                    reference=body.reference.strip(),
                    party=Party(body.party) if body.party else None,
                    spoken_to=body.spoken_to.strip(),
                    next_update_us=moment_us(body.next_update),
                    seen_revision=case.revision,
                )
            )
            return _allowed(case, happening)

        return await self._reply(await self._desk.tell_case(decide))

    async def _reply(self, case: Case) -> Reply:
        (body,) = await self._desk.described_cases([case])
        return Reply(body=body, etag=str(case.revision))


def _allowed(case: Case | None, happening: CaseHappening) -> CaseHappening:
    try:
        tell_case(case, happening)
    except Refused as refusal:
        raise ApiProblem(HTTPStatus.UNPROCESSABLE_ENTITY, f"Nothing is recorded: {refusal}.") from refusal
    return happening


def _found(cases: Cases, name: str) -> Case:
    if name not in cases:
        raise ApiProblem(HTTPStatus.NOT_FOUND, "There is no such case; GET /api/v1/cases lists them.")
    return cases[name]
