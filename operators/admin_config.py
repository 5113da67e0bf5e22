from django.contrib.admin.apps import AdminConfig


class OperationsAdminConfig(AdminConfig):
    """Django's admin, on a site of ours."""

    default = False
    default_site = "operators.site.OperationsSite"
