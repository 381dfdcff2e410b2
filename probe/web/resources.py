"""What can be read and written through the API: the table of operations over what the daemon gives."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Final, Protocol

from probe import clock
from probe.core.amendments import Standing, named, problem_of, standings, withdrawal
from probe.core.model import Amendment
from probe.web import schemas
from probe.web.operations import PREFIX, Asked, Operation, Reply, etag_of
from probe.web.problem import ApiProblem
from probe.web.status_schema import Status

_AMENDMENTS: Final = "/amendments"
Decide = Callable[[tuple[Amendment, ...], Collection[str]], Amendment]


class Record(Protocol):
    """The ledger, as the API asks it. Each call may raise `Unavailable`."""

    async def amendments(self) -> tuple[Amendment, ...]:
        """Read the amendments, in the order in which they were kept."""

    async def amend(self, decide: Decide) -> tuple[Amendment, ...]:
        """Keep what `decide` makes of the amendments and the targets that are known; give all amendments with it.

        Nobody else adds one meanwhile. What `decide` raises is raised, and nothing is kept.
        """


class Resources:
    """Answers the API's operations."""

    def __init__(self, *, status: Callable[[], Mapping[str, Any]], record: Record) -> None:
        self._status = status
        self._record = record

    def operations(self) -> tuple[Operation, ...]:
        """Give the table."""
        return (*self._of_status(), *self._of_amendments())

    def _of_status(self) -> tuple[Operation, ...]:
        return (
            Operation(
                name="status",
                method="GET",
                path="/status",
                summary="What the daemon sees now.",
                response=Status,
                answer=self._get_status,
            ),
        )

    def _of_amendments(self) -> tuple[Operation, ...]:
        return (
            Operation(
                name="list_amendments",
                method="GET",
                path=_AMENDMENTS,
                summary="The windows that were ever left out of the totals.",
                response=schemas.Amendments,
                has_etag=True,
                answer=self._list_amendments,
            ),
            Operation(
                name="amend",
                method="POST",
                path=_AMENDMENTS,
                summary="Leave a window out of the totals; no verdict changes.",
                request=schemas.NewAmendment,
                response=schemas.StandingAmendment,
                status=HTTPStatus.CREATED,
                is_writing=True,
                has_etag=True,
                takes_match=True,
                answer=self._amend,
            ),
            Operation(
                name="amendment",
                method="GET",
                path=f"{_AMENDMENTS}/{{amendment}}",
                summary="One window.",
                response=schemas.StandingAmendment,
                has_etag=True,
                answer=self._get_amendment,
            ),
            Operation(
                name="withdraw_amendment",
                method="POST",
                path=f"{_AMENDMENTS}/{{amendment}}/withdrawal",
                summary="Take a window back: its seconds count again.",
                request=schemas.NewWithdrawal,
                response=schemas.StandingAmendment,
                is_writing=True,
                has_etag=True,
                needs_match=True,
                answer=self._withdraw,
            ),
        )

    async def _get_status(self, _asked: Asked) -> Reply:
        return Reply(body=dict(self._status()))

    async def _list_amendments(self, _asked: Asked) -> Reply:
        body = list_of(await self._record.amendments())
        return Reply(body=body, etag=etag_of(body))

    async def _get_amendment(self, asked: Asked) -> Reply:
        return _one(await self._record.amendments(), asked.path["amendment"])

    async def _amend(self, asked: Asked) -> Reply:
        wanted: schemas.NewAmendment = asked.body

        def decide(known: tuple[Amendment, ...], targets: Collection[str]) -> Amendment:
            asked.check_match(etag_of(list_of(known)))
            amendment = named(
                Amendment(
                    amendment="",
                    target=wanted.target,
                    surface=str(wanted.surface),
                    first_second=wanted.first_second,
                    last_second=wanted.last_second,
                    exclusion=wanted.exclusion,
                    reason=wanted.reason.strip(),
                    author=asked.actor,
                    added_us=clock.wall_us(),
                )
            )
            return _sound(amendment, known, targets)

        every = await self._record.amend(decide)
        reply = _one(every, every[-1].amendment)
        return Reply(body=reply.body, etag=reply.etag, location=f"{PREFIX}{_AMENDMENTS}/{every[-1].amendment}")

    async def _withdraw(self, asked: Asked) -> Reply:
        name, reason = asked.path["amendment"], asked.body.reason.strip()

        def decide(known: tuple[Amendment, ...], targets: Collection[str]) -> Amendment:
            asked.check_match(_one(known, name).etag)
            of = next(one for one in known if one.amendment == name)
            back = withdrawal(of, reason=reason, author=asked.actor, added_us=clock.wall_us())
            return _sound(back, known, targets)

        return _one(await self._record.amend(decide), name)


def list_of(known: Sequence[Amendment]) -> dict[str, Any]:
    """Write all amendments, each with its withdrawal."""
    return {"amendments": [_standing(standing) for standing in standings(known)]}


def _one(known: Sequence[Amendment], name: str) -> Reply:
    standing = next((one for one in standings(known) if one.amendment.amendment == name), None)
    if standing is None:
        raise ApiProblem(HTTPStatus.NOT_FOUND, "There is no such amendment; GET /api/v1/amendments lists them.")
    body = _standing(standing)
    return Reply(body=body, etag=etag_of(body))


def _standing(standing: Standing) -> dict[str, Any]:
    back = standing.withdrawn_by
    return {**asdict(standing.amendment), "withdrawn_by": None if back is None else asdict(back)}


def _sound(amendment: Amendment, known: Sequence[Amendment], targets: Collection[str]) -> Amendment:
    if problem := problem_of(amendment, known, targets):
        raise ApiProblem(HTTPStatus.UNPROCESSABLE_ENTITY, f"Nothing is added: {problem}.")
    return amendment
