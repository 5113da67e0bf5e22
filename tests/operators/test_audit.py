"""The audit: it says who did what from where, and nobody changes it."""

import pytest
from django.contrib.auth.models import Group, User
from django.db import DatabaseError, transaction
from django.test import RequestFactory

from operators import audit
from operators.access import GROUPS
from operators.models import AuditEntry

pytestmark = pytest.mark.django_db


def test_an_entry_says_who_and_from_where() -> None:
    request = RequestFactory().post("/", REMOTE_ADDR="203.0.113.7")
    request.user = User(username="ada")
    entry = audit.record(request, "market.hide", "market:0x01", before={"hidden": False}, after={"hidden": True})
    entry.refresh_from_db()
    assert (entry.actor, entry.address) == ("ada", "203.0.113.7")
    assert (entry.before, entry.after) == ({"hidden": False}, {"hidden": True})
    assert str(entry) == "market.hide of market:0x01 by ada"


def test_a_process_has_a_name_and_no_address() -> None:
    entry = audit.record("resolver", "wallet.sent", "question:0x02", reason="its period is over")
    assert (entry.actor, entry.address, entry.reason) == ("resolver", "", "its period is over")


@pytest.mark.parametrize("change", [lambda rows: rows.update(actor="eve"), lambda rows: rows.delete()])
def test_an_entry_can_neither_be_changed_nor_deleted(change) -> None:  # type: ignore[no-untyped-def]
    audit.record("resolver", "wallet.sent", "question:0x02")
    with pytest.raises(DatabaseError, match="the audit is never changed"), transaction.atomic():
        change(AuditEntry.objects.all())
    assert AuditEntry.objects.get().actor == "resolver"


def test_migrate_makes_the_groups() -> None:
    assert set(Group.objects.values_list("name", flat=True)) == set(GROUPS)
    permissions = {
        group.name: {f"{each.content_type.app_label}.{each.codename}" for each in group.permissions.all()}
        for group in Group.objects.prefetch_related("permissions__content_type")
    }
    for name, granted in GROUPS.items():
        seen = {permission for permission in permissions[name] if ".view_" in permission}
        assert permissions[name] - seen == set(granted), name
        assert {"markets.view_market", "resolver.view_walletaction", "operators.view_auditentry"} <= seen
