"""The `relay` command. Each subcommand is imported only when it is called: `relay check` needs no web server.

Exit codes: 0 fine, 1 found something to report, 2 could not run.
"""

import difflib
import gc
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from relay import __version__
from relay.cli.bug_report import end_with_report
from relay.cli.env_file import advice, load
from relay.cli.printing import COULD_NOT_RUN, print_lines

_COMMANDS = {
    "serve": ("relay.cli.serve", "Take hooks and deliver what the rules ask for."),
    "demo": (
        "relay.cli.demo",
        "Try it out: sample chats, and stand-ins for mail, Slack and Teams.",
    ),
    "init": (
        "relay.cli.init_and_schema",
        "Write the files to start from: rules.yaml, relay.env, sample chats.",
    ),
    "check": (
        "relay.cli.check_and_explain",
        "Read the rules file and name everything that is wrong with it.",
    ),
    "test": ("relay.cli.test_cases", "Try the rules on the cases that you keep beside them."),
    "explain": ("relay.cli.check_and_explain", "Explain which rules match a chat, and why."),
    "preview": ("relay.cli.preview", "Show what would be sent for a chat, as files to open."),
    "translate": (
        "relay.cli.template_and_translate",
        "Change the relay's texts, or add a language.",
    ),
    "template": (
        "relay.cli.template_and_translate",
        "Copy a shipped template's file, to change it.",
    ),
    "backtest": ("relay.cli.backtest", "Try edited rules on the chats that came in."),
    "fields": (
        "relay.cli.field_list",
        "List the fields and names that rules and templates may use.",
    ),
    "schema": (
        "relay.cli.init_and_schema",
        "Print the JSON Schema of the rules file, for editors.",
    ),
    "send-test": ("relay.cli.send_test", "Send a test to a destination, and say how it ended."),
    "chats": ("relay.cli.chats", "List the chats that came in, and where each was sent."),
    "deliveries": ("relay.cli.deliveries", "List what was sent, what waits and what went wrong."),
    "digests": ("relay.cli.deliveries", "List what waits for a digest, and those that were sent."),
    "resend": ("relay.cli.send_again", "Send deliveries once more."),
    "pause": (
        "relay.cli.mute_and_pause",
        "Send nothing to a destination for a while: all of it waits.",
    ),
    "mute": ("relay.cli.mute_and_pause", "Mute a rule or a destination for a while."),
    "mutes": ("relay.cli.mute_and_pause", "List what is muted, until when, by whom and why."),
    "unmute": ("relay.cli.mute_and_pause", "End a mute: what it has held back is sent."),
    "resume": ("relay.cli.send_again", "End a pause, or try a broken destination at once."),
    "move-deliveries": (
        "relay.cli.send_again",
        "Send what waits for one destination to another.",
    ),
    "holidays": ("relay.cli.check_and_explain", "Write public holidays for schedules to use."),
    "replay": ("relay.cli.send_again", "Run today's rules on stored hooks."),
    "export": ("relay.cli.export_and_erase", "Print all that is kept about a visitor, as JSON."),
    "erase": ("relay.cli.export_and_erase", "Erase all that is kept about a visitor."),
    "backup": ("relay.cli.backup_and_move", "Copy the database while the relay runs."),
    "move": ("relay.cli.backup_and_move", "Move everything from the file to a PostgreSQL server."),
    "user": ("relay.cli.user", "Say who may sign in to the console, and what they may do."),
    "hook-url": (
        "relay.cli.hook_url_and_post",
        "Print the hook's URL, or put a new token into it.",
    ),
    "post": ("relay.cli.hook_url_and_post", "Post a chat to a running relay, as Smartsupp would."),
}
_HINTS = {
    **dict.fromkeys(("start", "run", "up", "server"), "serve"),
    **dict.fromkeys(("validate", "verify", "lint", "doctor"), "check"),
    **dict.fromkeys(("list", "history", "status", "failed", "log", "logs", "show"), "deliveries"),
    **dict.fromkeys(("chat", "find", "search", "who"), "chats"),
    **dict.fromkeys(("digest", "scheduled", "collected"), "digests"),
    **dict.fromkeys(("retry", "again"), "resend"),
    **dict.fromkeys(("unpause", "continue"), "resume"),
    **dict.fromkeys(("why", "dry-run"), "explain"),
    **dict.fromkeys(("silence", "silences", "snooze", "quiet"), "mute"),
    **dict.fromkeys(("stop", "hold", "suspend", "halt"), "pause"),
    **dict.fromkeys(("new", "setup", "config"), "init"),
    **dict.fromkeys(("dump", "snapshot"), "backup"),
    **dict.fromkeys(("migrate",), "move"),
    **dict.fromkeys(("reassign", "redirect", "readdress", "move-delivery"), "move-deliveries"),
    **dict.fromkeys(("users", "people", "passwd", "password", "invite", "account"), "user"),
    **dict.fromkeys(("url", "token", "new-token", "rotate", "hook"), "hook-url"),
}
"""Commands by other names that people may try."""
_ENV_FILE = "--env-file"
_WITHOUT_SETTINGS = {"demo", "init", "fields", "schema"}
_NEVER_HINTED = {"erase"}
"""Commands that are not suggested for a mistyped name, because they destroy data."""


class _Commands(click.Group):
    """A click group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        # Garbage collections would take a quarter of the time, and find nothing.
        gc.disable()
        try:
            command: click.Command = getattr(import_module(module), cmd_name.replace("-", "_"))
        finally:
            gc.enable()
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # The option may also follow the command's name.
        for at, argument in enumerate(args[: args.index("--")] if "--" in args else args):
            if argument.partition("=")[0] == _ENV_FILE:
                width = 1 if "=" in argument else 2
                args = [*args[at : at + width], *args[:at], *args[at + width :]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        try:
            return super().invoke(ctx)
        except SystemExit as ended:
            if ended.code == COULD_NOT_RUN and ctx.invoked_subcommand not in _WITHOUT_SETTINGS:
                print_lines(filter(None, [advice(ctx)]), err=True)
            raise
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - a bare traceback may show a secret
            end_with_report(error, ctx.invoked_subcommand)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = f" Did you mean {near!r}?" if (near := _nearest(args[0])) else ""
            raise click.UsageError(f"{error.message}{hint}", error.ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # click would load every command for its first line.
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _COMMANDS.items()])


def _nearest(name: str) -> str:
    """The command that is probably meant by a wrong name; empty where none is."""
    names = [each for each in (*_COMMANDS, *_HINTS) if each not in _NEVER_HINTED]
    near = difflib.get_close_matches(name.lower().replace("_", "-"), names, n=1)
    return _HINTS.get(near[0], near[0]) if near else ""


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="relay")
@click.option(
    _ENV_FILE,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Settings to add to those of the environment. Default: relay.env beside the rules file, if it is there.",
)
@click.pass_context
def main(context: click.Context, env_file: Path | None) -> None:
    """Relay chats from Smartsupp to email, Slack, Microsoft Teams and webhooks, by the rules of one YAML file.

    Settings come from the environment (RELAY_RULES, RELAY_SMTP_URL, ...) and from relay.env: see docs/settings.md.
    """
    if context.invoked_subcommand not in _WITHOUT_SETTINGS:
        load(context, env_file)
