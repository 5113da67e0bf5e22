"""Which group may do what. `migrate` makes the groups; people are put into them in the admin.

viewer    sees every page and changes nothing
operator  describes, corrects and places markets, approves what others correct, compares markets with the chain, has the
          indexer read again, asks for resolutions, can stop the wallet
resolver  asks for resolutions, approves those of others and their corrections, compares markets with the chain, stops
          and releases the wallet
"""

from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.db.models import Q

# Applications whose every row staff may see; users and their groups are a superuser's.
SHOWN = ("accounts", "indexer", "markets", "operators", "oracle", "resolver")
OPERATOR = (
    "indexer.change_indexedevent",
    "indexer.request_repair",
    "markets.add_marketmetadata",
    "markets.change_marketmetadata",
    "markets.correct_market",
    "markets.approve_correction",
    "markets.place_market",
    "markets.reconcile_market",
    "resolver.request_resolution",
    "resolver.stop_wallet",
)
RESOLVER = (
    "markets.approve_correction",
    "markets.reconcile_market",
    "resolver.request_resolution",
    "resolver.approve_resolution",
    "resolver.retry_walletaction",
    "resolver.stop_wallet",
    "resolver.release_wallet",
)
GROUPS: dict[str, tuple[str, ...]] = {"viewer": (), "operator": OPERATOR, "resolver": RESOLVER}


def create_groups(using: str = "default", **_: Any) -> None:
    """Makes the groups, and gives each exactly what the table says, whatever it had before."""
    shown = Q(
        content_type__app_label__in=[app for app in SHOWN if apps.is_installed(app)], codename__startswith="view_"
    )
    for name, granted in GROUPS.items():
        group, _created = Group.objects.using(using).get_or_create(name=name)
        may = shown
        for permission in granted:
            app, _dot, codename = permission.partition(".")
            may |= Q(content_type__app_label=app, codename=codename)
        group.permissions.set(Permission.objects.using(using).filter(may))
