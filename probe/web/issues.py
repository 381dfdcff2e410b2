"""Critical Issues through the API: their lives are read, and people tell what happened in them."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Protocol

from probe import clock
from probe.core.happenings import Act, Happening, Party, named
from probe.core.lives import Life, add
from probe.core.procedure import Refused
from probe.web import issue_schemas
from probe.web.issue_schemas import moment_us
from probe.web.operations import Asked, Operation, Reply
from probe.web.problem import ApiProblem
from probe.web.schemas import LivesQuery

Tell = Callable[[Sequence[Life]], Happening]
_ISSUE: Final = "/issues/{issue}"
NO_LINE: Final = (
    "Nothing is recorded: this profile has no Severity 1 line; tell of case_submitted and escalated instead."
)


class Desk(Protocol):
    """The lives of issues, as the API asks for them. Each call may raise `Unavailable`."""

    async def lives(self) -> Sequence[Life]:
        """Read all, each once, in the order in which they began."""

    async def tell(self, decide: Tell) -> Life:
        """Keep the happening that `decide` makes of the lives; give the life that it leads to.

        Nobody else adds to it meanwhile. What `decide` raises is raised, and nothing is kept.
        """

    async def call_sheet(self, life: Life) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Write the call sheet of an issue: its fields, and pages by media type."""

    def has_line(self, target: str) -> bool:
        """Say whether the target's profile has a Severity 1 line."""

    async def described(self, lives: Sequence[Life]) -> Sequence[Mapping[str, Any]]:
        """Say of each where it stands, what happened, what is owed now, and whom to escalate to."""


class Issues:
    """Answers what is asked of issues. An issue's ETag is the revision of its life: what is owed changes by itself."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def operations(self) -> tuple[Operation, ...]:
        """Give the table."""
        return (
            Operation(
                name="list_issues",
                method="GET",
                path="/issues",
                summary="Critical Issues, those that began last first.",
                query=LivesQuery,
                response=issue_schemas.Issues,
                answer=self._list,
            ),
            Operation(
                name="issue",
                method="GET",
                path=_ISSUE,
                summary="One Critical Issue, by any of its names.",
                response=issue_schemas.Issue,
                has_etag=True,
                is_cacheable=False,
                answer=self._get,
            ),
            Operation(
                name="call_sheet",
                method="GET",
                path=f"{_ISSUE}/call-sheet",
                summary="Whom to call and what to say, on one page: JSON, HTML or text, as Accept names them.",
                response=issue_schemas.CallSheet,
                answer=self._call_sheet,
                page_types=("text/html", "text/plain"),
            ),
            Operation(
                name="tell",
                method="POST",
                path=f"{_ISSUE}/happenings",
                summary="Tell what happened: a call, a call back, an update, an agreement.",
                request=issue_schemas.NewHappening,
                response=issue_schemas.Issue,
                status=HTTPStatus.CREATED,
                is_writing=True,
                has_etag=True,
                needs_match=True,
                answer=self._tell,
            ),
        )

    async def _list(self, asked: Asked) -> Reply:
        query: LivesQuery = asked.query
        every = await self._desk.lives()
        lives = [life for life in every if query.wants(life.target, is_over=life.procedure.is_over)]
        lives.sort(key=lambda life: life.procedure.opened_us, reverse=True)
        return Reply(body={"issues": await self._desk.described(lives[: query.limit])})

    async def _get(self, asked: Asked) -> Reply:
        return await self._reply(_found(await self._desk.lives(), asked.path["issue"]))

    async def _call_sheet(self, asked: Asked) -> Reply:
        body, pages = await self._desk.call_sheet(_found(await self._desk.lives(), asked.path["issue"]))
        return Reply(body=body, pages=pages)

    async def _tell(self, asked: Asked) -> Reply:
        body: issue_schemas.NewHappening = asked.body

        def decide(lives: Sequence[Life]) -> Happening:
            life, now_us = _found(lives, asked.path["issue"]), clock.wall_us()
            asked.check_match(str(life.procedure.revision))
            if body.act is Act.LINE_CALLED and not self._desk.has_line(life.target):
                raise ApiProblem(HTTPStatus.UNPROCESSABLE_ENTITY, NO_LINE)
            happening = named(
                Happening(
                    target=life.target,
                    issue=life.issue,
                    act=body.act,
                    at_us=moment_us(body.at) or now_us,
                    recorded_us=now_us,
                    actor=asked.actor,
                    words=body.words.strip(),
                    party=Party(body.party) if body.party else None,
                    spoken_to=body.spoken_to.strip(),
                    reference=body.reference.strip(),
                    next_update_us=moment_us(body.next_update),
                    seen_revision=life.procedure.revision,
                )
            )
            try:
                add(life, happening)
            except Refused as refusal:
                raise ApiProblem(HTTPStatus.UNPROCESSABLE_ENTITY, f"Nothing is recorded: {refusal}.") from refusal
            return happening

        return await self._reply(await self._desk.tell(decide))

    async def _reply(self, life: Life) -> Reply:
        (body,) = await self._desk.described([life])
        return Reply(body=body, etag=str(life.procedure.revision))


def _found(lives: Sequence[Life], name: str) -> Life:
    for life in lives:
        if name in life.names:
            return life
    raise ApiProblem(HTTPStatus.NOT_FOUND, "There is no such issue; GET /api/v1/issues lists them.")
