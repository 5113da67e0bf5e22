"""Who did what to what the chain does not say. Rows are added, and never changed: a trigger sees to it."""

from django.db import models
from django.db.models.functions import Now


class AuditEntry(models.Model):
    """One step of a person, or of the resolver itself. People are named by text, which outlives their accounts."""

    at = models.DateTimeField(db_default=Now())
    actor = models.CharField(
        max_length=150, help_text="A user's name; `resolver`, `indexer` or `command` for processes."
    )
    address = models.CharField(max_length=64, blank=True, help_text="The client's address; empty for processes.")
    request_id = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=64, help_text="Such as `resolution.approve`.")
    subject = models.CharField(max_length=200, help_text="Such as `market:0x…`, by the chain's own name of it.")
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    reason = models.TextField(blank=True)

    class Meta:
        db_table = "audit_entries"
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["subject", "-id"], name="audit_by_subject"),
            models.Index(fields=["actor", "-id"], name="audit_by_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.subject} by {self.actor}"
