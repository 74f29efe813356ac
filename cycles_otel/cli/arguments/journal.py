"""``cycles-otel journal``: what it takes."""

from __future__ import annotations

import functools

from cycles_otel.cli import commands
from cycles_otel.cli.arguments.common import Parser, Subparsers, Wide, print_help, seconds

_JOURNAL = """\
What is known to be spent and was not settled yet is noted in a folder: CYCLES_JOURNAL_DIR, by default
~/.runcycles/commit-journal. A program sends what others left when it starts; these commands show it, and send it
without waiting for that.
"""
_LIST = """\
Shows each spend that waits, the oldest first. What belongs to a live process is sent by that process. Nothing is
changed.
"""
_LIST_EXAMPLES = """\
examples:
  cycles-otel journal list
  cycles-otel journal list --tenant acme --dir /var/lib/helpdesk/journal
  cycles-otel journal list --json              for a program: [{"id": ..., "amount": ..., "alive": ...}]
"""
_REPLAY = """\
Sends what processes that are gone left for this server and tenant (CYCLES_BASE_URL, CYCLES_API_KEY, CYCLES_TENANT), as
the next start of the program would. The server takes each spend once, by its key, however often it is sent. What
belongs to a live process is left to that. The exit status is 1 where the server did not take all of it in time; each
spend that is left is shown with what the server has against it.
"""
_REPLAY_EXAMPLES = """\
examples:
  cycles-otel journal replay --dry-run         how many would be sent
  cycles-otel journal replay --timeout 120     for a server that comes back slowly
"""


def add(subparsers: Subparsers) -> None:
    """``cycles-otel journal``."""
    journal = subparsers.add_parser(
        "journal", help="see and send what is not settled yet", description=_JOURNAL, formatter_class=Wide
    )
    journal.set_defaults(command=functools.partial(print_help, journal), program=journal.prog)
    actions = journal.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    listing = actions.add_parser(
        "list", help="show what waits", description=_LIST, epilog=_LIST_EXAMPLES, formatter_class=Wide
    )
    listing.add_argument("--tenant", help="only what this tenant spent (default: all)")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(command=commands.journal_list, program=listing.prog)
    replay = actions.add_parser(
        "replay",
        help="send what processes that are gone left",
        description=_REPLAY,
        epilog=_REPLAY_EXAMPLES,
        formatter_class=Wide,
    )
    replay.add_argument("--tenant", help="whose spend is sent (default: what CYCLES_TENANT says)")
    replay.add_argument("--timeout", type=seconds, default=30.0, metavar="S", help="seconds to try (default: 30)")
    replay.add_argument("--dry-run", action="store_true", help="say how many would be sent, and send nothing")
    replay.set_defaults(command=commands.journal_replay, program=replay.prog)
    for action in (listing, replay):
        action.add_argument("--dir", metavar="DIR", help="the folder (default: what CYCLES_JOURNAL_DIR says)")
