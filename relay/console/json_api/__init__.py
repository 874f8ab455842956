"""What programs ask: JSON below `/api/v1`, by a token or by the session of a browser. Errors are RFC 9457's problem details.

GET /api/v1/chats -> RequestChecks (host, token) -> the route's role -> Operation: query and body read -> find_chats -> JSON
"""

from litestar import HttpMethod, Response, route
from litestar.handlers import HTTPRouteHandler

from relay.console.json_api.call import BASE, JSON, Api
from relay.console.json_api.chat_operations import chats
from relay.console.json_api.delivery_operations import deliveries
from relay.console.json_api.destination_operations import destinations
from relay.console.json_api.digest_operations import digests
from relay.console.json_api.health_operations import health
from relay.console.json_api.job_operations import jobs
from relay.console.json_api.mute_operations import mutes
from relay.console.json_api.openapi import document
from relay.console.json_api.operation import encoded
from relay.console.json_api.people_operations import people
from relay.console.json_api.personal_data_operations import personal_data
from relay.console.json_api.rules_operations import rules
from relay.outbox.people import Role

SUBJECTS = (
    chats,
    personal_data,
    deliveries,
    digests,
    destinations,
    mutes,
    rules,
    jobs,
    health,
    people,
)


def api_document() -> bytes:
    """The OpenAPI document of all operations, in JSON."""
    return encoded(document(SUBJECTS))


def api_routes(api: Api) -> list[HTTPRouteHandler]:
    """The route of every operation, and that of the document."""
    made: list[bytes] = []

    @route(
        f"{BASE}/openapi.json",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        opt={"role": Role.VIEWER},
        sync_to_thread=False,
    )
    def openapi() -> Response[bytes]:
        if not made:
            made.append(api_document())
        return Response(made[0], media_type=JSON)

    operations = [each for subject in SUBJECTS for each in subject.all]
    return [openapi, *(each.handler(api) for each in operations)]
