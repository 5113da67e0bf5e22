from django.apps import AppConfig
from django.db.models.signals import post_migrate


class OperatorsConfig(AppConfig):
    name = "operators"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from operators.access import create_groups

        # Each application's permissions are made behind its migrations; this one's come last.
        post_migrate.connect(create_groups, sender=self)
