"""Operations on the files of templates: list, read, change and preview them."""

from typing import Annotated

from litestar import HttpMethod
from msgspec import Meta, Struct

from relay.console.file_access import template_folder
from relay.console.json_api.api_request import Call, Line, copied
from relay.console.json_api.operation import Operations
from relay.console.json_api.problem_details import missing, wrong
from relay.console.json_api.sentence_operations import (
    NO_FILE,
    Hash,
    PreviewOf,
    ReadOnlyWhy,
    WordingPreview,
    base_of,
    preview,
    saved,
    sentences_of,
)
from relay.console.wording_pages import act_on_template, text_in
from relay.outbox.user_accounts import Role
from relay.rendering.template_folders import MAX_SIZE
from relay.services import in_thread
from relay.services.template_files import NoSuchFile, TemplateFiles, TemplateText
from relay.services.text_diff import as_written, to_text
from relay.services.wording_preview import template_for

templates = Operations("Templates")


class TemplateName(Struct, forbid_unknown_fields=True):
    """A path that ends with a template and one of its files."""

    name: Annotated[str, Meta(max_length=100, description="Of the template, such as `missed`.")]
    file: Annotated[str, Meta(max_length=100, description="Such as `subject.txt`.")]


class ListedTemplate(Struct, kw_only=True):
    """A file of a template."""

    name: str
    """The name of the file, such as `missed/subject.txt`."""
    inherited: str
    """The file of another template that is used while this one has none; empty where it has one."""
    is_own: bool
    """Whether the user has an own file."""


class TemplateList(Struct, kw_only=True):
    """The files of templates."""

    read_only: ReadOnlyWhy
    files: list[ListedTemplate]
    """The files, in the order of their templates."""


class OneTemplate(Struct, kw_only=True):
    """A file of a template with its texts."""

    file: ListedTemplate
    """The name and origin of the file."""
    text: str
    """The text in use: the user's own, else the shipped one."""
    shipped: str
    """The file that comes with the relay; empty where there is none."""
    hash: Hash
    read_only: ReadOnlyWhy


TemplateBody = Annotated[str, Meta(max_length=MAX_SIZE, description="The whole text of the file.")]


class TemplateRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """A text to replace the one whose hash If-Match names."""

    text: TemplateBody


class TemplatePreviewRequest(PreviewOf, kw_only=True, forbid_unknown_fields=True):
    """A text of a template's file, to preview before it is saved."""

    text: TemplateBody
    language: Annotated[
        Line, Meta(description="A tag such as `cs`; left out: that of the rules.")
    ] = ""


@templates.operation(HttpMethod.GET, "/templates", Role.ADMIN)
async def list_templates(call: Call) -> TemplateList:
    """The files of templates that may be changed."""
    template_files = _templates(call)
    return TemplateList(
        read_only=await in_thread(lambda _: template_files.files.why_read_only()),
        files=[copied(ListedTemplate, each) for each in await template_files.every()],
    )


@templates.operation(HttpMethod.GET, "/templates/{name}/{file}", Role.ADMIN)
async def get_template(call: Call, path: TemplateName) -> OneTemplate:
    """A file of a template, with the hash of the user's file as the ETag."""
    return _template(await _file(call, path))


@templates.operation(
    HttpMethod.PUT, "/templates/{name}/{file}", Role.ADMIN, refusals=(409, 412, 428), if_match=True
)
async def change_template(call: Call, path: TemplateName, body: TemplateRequest) -> OneTemplate:
    """Save the user's file of a template, which is used within seconds."""
    template = await _file(call, path)
    data = as_written(body.text.replace("\r\n", "\n"), template.own.source or template.shipped)
    return await _replaced(call, path, template.own.hash, data)


@templates.operation(
    HttpMethod.DELETE,
    "/templates/{name}/{file}",
    Role.ADMIN,
    refusals=(409, 412, 428),
    if_match=True,
)
async def reset_template(call: Call, path: TemplateName) -> OneTemplate:
    """Remove the user's file of a template, so that the relay's own is used again."""
    template = await _file(call, path)
    return await _replaced(call, path, template.own.hash, None)


@templates.operation(HttpMethod.POST, "/templates/{name}/{file}/preview", Role.ADMIN)
async def preview_template(
    call: Call, path: TemplateName, body: TemplatePreviewRequest
) -> WordingPreview:
    """A notification as each medium would show it with another text of a template's file."""
    template_text = await _file(call, path)
    name, rules = template_text.about.name, call.running.parts.in_force.rules
    language = body.language or rules.language
    if language not in (known := await in_thread(lambda _: sentences_of(call).languages())):
        raise wrong("language", f"one of {', '.join(known)}")
    problems = await _templates(call).problems(name, body.text)
    is_too_long = len(body.text.encode()) > MAX_SIZE
    drafts = {} if is_too_long else {name: body.text}
    return await preview(
        call, body, drafts, problems, template=template_for(name), language=language
    )


def _templates(call: Call) -> TemplateFiles:
    return TemplateFiles(template_folder(call.running), call.api.previews)


async def _file(call: Call, path: TemplateName) -> TemplateText:
    """The file of a path. Raises Refusal where there is none."""
    name = f"{path.name}/{path.file}"
    try:
        return await _templates(call).read(name)
    except NoSuchFile:
        raise missing("such file of a template") from None


async def _replaced(
    call: Call, path: TemplateName, current: str, data: bytes | None
) -> OneTemplate:
    """The file after it was replaced by `data`, or removed; `current`: its present hash. Raises Refusal."""
    name, base = f"{path.name}/{path.file}", base_of(call, current)
    doing = act_on_template(call.caller, name, base, data)
    await saved("text", _templates(call).change(name, data, base, doing))
    return _template(await _file(call, path))


def _template(template: TemplateText) -> OneTemplate:
    return OneTemplate(
        file=copied(ListedTemplate, template.about),
        text=text_in(template),
        shipped=to_text(template.shipped),
        hash=template.own.hash or NO_FILE,
        read_only=template.own.read_only,
    )
