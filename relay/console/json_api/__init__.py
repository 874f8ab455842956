"""The JSON API below `/api/v1`, for programs with an API token and browsers with a session.

Errors are problem details (RFC 9457).

GET /api/v1/chats -> RequestChecks (host, token) -> the route's role -> Operation: query and body read -> find_chats
-> JSON
"""

from litestar import HttpMethod, Response, route
from litestar.handlers import HTTPRouteHandler

from relay.console.json_api.api_request import BASE, JSON, Api
from relay.console.json_api.chat_operations import chats
from relay.console.json_api.delivery_operations import deliveries
from relay.console.json_api.destination_operations import destinations
from relay.console.json_api.digest_operations import digests
from relay.console.json_api.health_operations import health
from relay.console.json_api.job_operations import jobs
from relay.console.json_api.mute_operations import mutes
from relay.console.json_api.openapi import document
from relay.console.json_api.operation import encoded
from relay.console.json_api.personal_data_operations import personal_data
from relay.console.json_api.rule_trial_operations import rule_trials
from relay.console.json_api.rules_in_force_operations import rules_in_force
from relay.console.json_api.rules_operations import rules
from relay.console.json_api.rules_version_operations import versions
from relay.console.json_api.sentence_operations import wording
from relay.console.json_api.template_operations import templates
from relay.console.json_api.token_operations import tokens
from relay.console.json_api.unreadable_operations import unreadable
from relay.console.json_api.user_operations import people
from relay.outbox.user_accounts import Role
from relay.services import in_thread

SUBJECTS = (
    chats,
    personal_data,
    deliveries,
    unreadable,
    digests,
    destinations,
    mutes,
    rules,
    rules_in_force,
    versions,
    rule_trials,
    wording,
    templates,
    jobs,
    health,
    people,
    tokens,
)


def api_document() -> bytes:
    """The OpenAPI document of all operations, in JSON."""
    return encoded(document(SUBJECTS))


def api_routes(api: Api) -> list[HTTPRouteHandler]:
    """The routes of all operations, and of the OpenAPI document."""
    made: list[bytes] = []

    @route(
        f"{BASE}/openapi.json",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        opt={"role": Role.VIEWER},
    )
    async def openapi() -> Response[bytes]:
        if not made:
            made.append(await in_thread(lambda _: api_document()))
        return Response(made[0], media_type=JSON)

    operations = [each for subject in SUBJECTS for each in subject.all]
    return [openapi, *(each.handler(api) for each in operations)]
