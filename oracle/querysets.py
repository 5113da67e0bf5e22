"""The reads of the oracle app."""

from datetime import datetime

from django.db import models
from django.db.models import Q

from oracle.lifecycle import COMMIT_PERIOD, REVEAL_PERIOD, STALE_AFTER, State


class QuestionQuerySet(models.QuerySet):
    def in_state(self, state: State, now: datetime) -> "QuestionQuerySet":
        """Questions in `state` at chain time `now`: lifecycle.state_at, as SQL."""
        settled = Q(resolved_at__isnull=False) | Q(voided_at__isnull=False)
        stale = Q(proposed_at__isnull=False, proposed_at__lt=now - STALE_AFTER)
        live = ~settled & ~stale
        disputed = Q(disputed_at__isnull=False)
        commit_ends, reveal_ends = now - COMMIT_PERIOD, now - COMMIT_PERIOD - REVEAL_PERIOD
        conditions = {
            State.VOIDED: Q(voided_at__isnull=False),
            State.RESOLVED: Q(resolved_at__isnull=False, voided_at__isnull=True),
            State.COMMITTING: live & Q(disputed_at__gt=commit_ends),
            State.REVEALING: live & Q(disputed_at__lte=commit_ends, disputed_at__gt=reveal_ends),
            State.PROPOSED: live & ~disputed & Q(expires_at__gt=now),
            State.RESOLVABLE: live & (Q(disputed_at__lte=reveal_ends) | (~disputed & Q(expires_at__lte=now))),
            State.REGISTERED: ~settled & (stale | Q(proposed_at__isnull=True)),
            State.DISPUTED: Q(pk__in=[]),
        }
        return self.filter(conditions[state])
