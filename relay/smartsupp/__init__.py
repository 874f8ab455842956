"""What Smartsupp sends. Only this package knows Smartsupp's names; see docs/glossary.md."""

from relay.smartsupp.chat_reader import read_chat, read_leniently
from relay.smartsupp.hook_json import UnreadableHook

__all__ = ["UnreadableHook", "read_chat", "read_leniently"]
