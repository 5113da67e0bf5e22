"""The admin's pages of who may do what: people, groups, second factors and locked names. Each step is in the audit."""

from typing import Any, ClassVar

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group, User
from django.db import models, transaction
from django.db.models import QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from aurum.admin import ReadOnlyAdmin, ReasonForm, shortened, visible
from operators.audit import record

LONGEST_SUBJECT = 200  # characters; what guessers type as a name may be longer


class Audited(admin.ModelAdmin):
    """Writes what is added, changed and deleted into the audit, in the transaction that does it.

    Only `told` fields are written there: no password and no key.
    """

    kind = ""
    told: ClassVar[tuple[str, ...]] = ()

    def subject(self, row: Any) -> str:
        return f"{self.kind}:{row}"

    def tell(self, row: Any) -> dict[str, Any]:
        values = forms.model_to_dict(row, fields=self.told)
        return {name: sorted(map(str, value)) if isinstance(value, list) else value for name, value in values.items()}

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        may_write = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        return [*fieldsets, ("Audit", {"fields": ("reason",)})] if may_write else fieldsets

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        form.before = self.tell(self.model._default_manager.get(pk=obj.pk)) if change else None
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Behind this, groups and permissions are as they were chosen."""
        super().save_related(request, form, formsets, change)
        record(
            request,
            f"{self.kind}.{'change' if change else 'add'}",
            self.subject(form.instance),
            before=form.before,
            after=self.tell(form.instance),
            reason=form.cleaned_data["reason"],
        )

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.record_deletion(request, obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        with transaction.atomic():
            for row in queryset:
                self.record_deletion(request, row)
            super().delete_queryset(request, queryset)

    def record_deletion(self, request: HttpRequest, row: Any) -> None:
        record(request, f"{self.kind}.delete", self.subject(row), before=self.tell(row))


class PersonForm(ReasonForm, UserChangeForm):
    pass


class NewPersonForm(ReasonForm, AdminUserCreationForm):
    pass


class GroupForm(ReasonForm, forms.ModelForm):
    pass


class PeopleAdmin(Audited, UserAdmin):
    kind = "user"
    told = (
        *("username", "first_name", "last_name", "email"),
        *("is_active", "is_staff", "is_superuser", "groups", "user_permissions"),
    )
    form = PersonForm
    add_form = NewPersonForm

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():
            before = self.get_object(request, unquote(id))
            answer = super().user_change_password(request, id, form_url)
            after = self.get_object(request, unquote(id))
            if before is not None and after is not None and before.password != after.password:
                record(request, "user.password", self.subject(after))
        return answer


class GroupsAdmin(Audited, GroupAdmin):
    kind = "group"
    told = ("name", "permissions")
    form = GroupForm
    fieldsets = ((None, {"fields": told}),)

    def record_deletion(self, request: HttpRequest, row: Any) -> None:
        members = sorted(row.user_set.values_list("username", flat=True))
        record(request, "group.delete", self.subject(row), before=self.tell(row) | {"members": members})


class SecondFactorAdmin(Audited):
    """What people have set up. It can be deleted, for a lost phone; nobody sets it up for another, or sees its key."""

    kind = "second_factor"
    told = ("name", "confirmed")
    fields = ("user", "name", "confirmed", "created_at", "last_used_at")
    list_display = fields
    list_display_links = ("user", "name")
    list_select_related = ("user",)
    search_fields = ("user__username",)
    show_full_result_count = False

    def subject(self, row: Any) -> str:
        return f"user:{row.user.get_username()}"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class SignInsAdmin(ReadOnlyAdmin):
    """What django-axes keeps of signing in. Names are what somebody typed."""

    fields: ClassVar[Any] = ("attempt_time", "who", "ip_address", "path_info", "agent")
    list_display: Any = fields
    ordering = ("-id",)
    search_fields = ("username",)

    def get_object(self, *args: Any, **options: Any) -> Any:
        row = super().get_object(*args, **options)
        if row is not None:
            row.username = self.who(row)  # it is in the page's title
        return row

    @admin.display(description="name")
    def who(self, row: Any) -> str:
        return visible(row.username or "")

    @admin.display(description="user agent")
    def agent(self, row: Any) -> str:
        return shortened(row.user_agent)


class AttemptsAdmin(SignInsAdmin):
    fields = (*SignInsAdmin.fields, "failures_since_start")
    list_display = fields
    actions = ("unlock",)  # type: ignore[assignment]  # None above means that there is none

    def has_unlock_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("axes.delete_accessattempt")

    @admin.action(description="Unlock these names for these addresses", permissions=["unlock"])
    def unlock(self, request: HttpRequest, queryset: QuerySet) -> None:
        chosen = queryset.order_by().values_list("username", "ip_address").annotate(Sum("failures_since_start"))
        with transaction.atomic():
            for name, address, failures in chosen:
                AccessAttempt.objects.filter(username=name, ip_address=address).delete()
                before = {"address": address, "failures": failures}
                record(request, "sign_in.unlock", f"user:{name}"[:LONGEST_SUBJECT], before=before)
        self.message_user(request, "They may try again.", messages.SUCCESS)


PAGES: dict[type[models.Model], type[admin.ModelAdmin]] = {
    User: PeopleAdmin,
    Group: GroupsAdmin,
    TOTPDevice: SecondFactorAdmin,
    StaticDevice: SecondFactorAdmin,
    AccessAttempt: AttemptsAdmin,
    AccessLog: SignInsAdmin,
    AccessFailureLog: SignInsAdmin,
}


def register() -> None:
    """Takes the place of the pages that these models' own applications registered, which leave no audit."""
    for model, page in PAGES.items():
        admin.site.unregister(model)
        admin.site.register(model, page)
