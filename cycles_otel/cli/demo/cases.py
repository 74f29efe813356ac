"""What customers ask, and how the agents deal with it: all of it drawn from the seed, the tenant and a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from agents.items import TResponseOutputItem
from agents.testing import assistant_message, function_call

from cycles_otel.cli.demo.scripted import Conversation, Turn
from cycles_otel.cli.demo.tenants import Tenant, turns

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Topic:
    """A kind of question: which agent answers it, with which tools, and what it says in the end."""

    question: str
    agent: str
    calls: tuple[Call, ...]
    answer: str


_EMAIL: Call = ("send_email", {"subject": "Your request"})
TOPICS = (
    Topic(
        "I was charged twice for my subscription, please refund one.",
        "billing",
        (("search_knowledge", {"query": "refund policy"}), ("update_crm", {"note": "refund granted"}), _EMAIL),
        "The second charge is refunded.",
    ),
    Topic(
        "Where do I find the invoice of last month?",
        "billing",
        (("search_knowledge", {"query": "invoices"}), _EMAIL),
        "The invoice is on its way to you.",
    ),
    Topic(
        "Nothing loads since this morning.",
        "technical",
        (("run_diagnostics", {"area": "network"}), _EMAIL),
        "A certificate had expired; it is renewed.",
    ),
    Topic(
        "How do I rotate the key of the API without downtime?",
        "technical",
        (("research", {"input": "rotate an API key without downtime"}), ("update_crm", {"note": "how-to sent"})),
        "Create a second key, switch over, then revoke the first.",
    ),
)
_RESEARCH: tuple[Call, ...] = (("search_knowledge", {"query": "keys"}),)


@dataclass(frozen=True)
class Case:
    """One customer's question.

    Parameters
    ----------
    number: counts the customers of all tenants, from 1 on.
    """

    tenant: Tenant
    number: int
    topic: Topic
    seed: str

    def script(self) -> Mapping[str, Sequence[Turn]]:
        """What each agent's model answers, turn by turn."""
        topic, rng = self.topic, Random(self.seed)
        handoff: tuple[Call, ...] = ((f"transfer_to_{topic.agent}", {}),)
        script = {"triage": _turns(Conversation(rng, prompt=600), handoff)}
        script[topic.agent] = _turns(Conversation(rng, prompt=2_400), topic.calls, topic.answer)
        script["researcher"] = _turns(Conversation(rng, prompt=1_300), _RESEARCH, "Found in the handbook.")
        return script


def cases(customers: int, seed: int, first: int = 1) -> list[Case]:
    """The cases of so many customers, the first of them with the number ``first``."""
    return [_case(tenant, seed, first + index) for index, tenant in enumerate(turns(customers))]


def _case(tenant: Tenant, seed: int, number: int) -> Case:
    source = f"{seed}/{tenant.name}/{number}"
    return Case(tenant, number, Random(source).choice(TOPICS), source)


def _turns(conversation: Conversation, calls: Iterable[Call], answer: str | None = None) -> list[Turn]:
    outputs: list[TResponseOutputItem] = [
        function_call(name, arguments, call_id=f"call_{name}") for name, arguments in calls
    ]
    if answer is not None:
        outputs.append(assistant_message(answer))
    return [conversation.turn(output) for output in outputs]
