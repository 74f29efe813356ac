"""The registry of action kinds and their risk classes.

Source: Cycles protocol suite, action kind registry v0.1.26 (Apache-2.0). The points for a class are ours.
"""

from __future__ import annotations

KINDS_BY_RISK_CLASS: dict[str, tuple[str, ...]] = {
    "read_only": (
        "llm.embedding",
        "web.search",
        "http.get",
        "db.query",
        "crm.record.read",
        "file.read",
        "code.lint",
        "vector.query",
        "memory.read",
        "calendar.read",
        "audio.transcribe",
        "storage.download",
    ),
    "local_mutation": (
        "file.write",
        "memory.write",
    ),
    "side_effect": (
        "llm.completion",
        "llm.structured_output",
        "agent.spawn",
        "agent.delegate",
        "agent.message",
        "http.graphql",
        "db.write",
        "crm.record.write",
        "file.delete",
        "vector.upsert",
        "vector.delete",
        "memory.delete",
        "reasoning.plan",
        "reasoning.reflect",
        "video.transcode",
        "vision.analyze",
        "vision.ocr",
        "vision.parse_document",
        "storage.upload",
        "storage.delete",
        "document.create",
        "document.edit",
        "unknown.call",
    ),
    "external_side_effect": (
        "agent.human_escalation",
        "http.post",
        "http.put",
        "http.delete",
        "message.email.send",
        "message.slack.post",
        "message.sms.send",
        "message.chat.post",
        "crm.record.delete",
        "calendar.write",
        "image.generate",
        "image.edit",
        "audio.generate",
        "social.post.create",
        "social.post.delete",
        "social.dm.send",
        "notification.push.send",
        "notification.webhook.trigger",
        "document.share",
    ),
    "high_risk": (
        "db.schema_change",
        "code.exec",
        "code.deploy",
        "payment.charge",
        "payment.refund",
        "video.generate",
    ),
}
"""Risk classes in ascending order, with their kinds."""

RISK_CLASS_OF: dict[str, str] = {kind: name for name, kinds in KINDS_BY_RISK_CLASS.items() for kind in kinds}

POINTS_OF_RISK_CLASS: dict[str, int] = {
    "read_only": 0,
    "local_mutation": 1,
    "side_effect": 5,
    "external_side_effect": 20,
    "high_risk": 50,
}
"""Sane defaults: what only reads is free, what cannot be taken back is dear."""
