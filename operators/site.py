"""The admin's site: who may enter, and how they show that it is them."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import segno
from django import forms
from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect

from operators import audit, second_factor

CODE = forms.CharField(
    label="Code",
    required=False,
    max_length=16,
    help_text="Six digits of your authenticator, or a recovery code; leave it empty where you have neither yet.",
    widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "text"}),
)


class SignInForm(AdminAuthenticationForm):
    """Name, password, and a code from everybody who has set up a second factor."""

    code = CODE

    def confirm_login_allowed(self, user: Any) -> None:
        super().confirm_login_allowed(user)
        if not second_factor.has_device(user):
            return
        user.otp_device = second_factor.verified_by(user, self.cleaned_data.get("code", "").strip())
        if user.otp_device is None:
            raise ValidationError("The code is missing, wrong or used; after wrong ones, wait a moment.", code="code")


class SetUpForm(forms.Form):
    code = forms.CharField(max_length=6, widget=forms.TextInput(attrs={"autocomplete": "one-time-code"}))


class OperationsSite(AdminSite):
    site_header = site_title = "Aurum operations"
    index_title = "The chain as it was read, and what people added"
    login_form = SignInForm
    login_template = "operators/login.html"
    # What the home page shows beside the list of tables. The project sets it: it reads every application.
    home: ClassVar[Callable[[HttpRequest], Mapping[str, Any]]] = staticmethod(lambda request: {})

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and second_factor.passed(request.user)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, {**type(self).home(request), **(extra_context or {})})

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """One's own; that of others is PeopleAdmin's."""
        user: Any = request.user
        before = user.password
        with transaction.atomic():
            answer = super().password_change(request, extra_context)
            if user.password != before:
                audit.record(request, "user.password", f"user:{user.get_username()}")
        return answer

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if _must_set_up(request):
            return HttpResponseRedirect(reverse("admin:second_factor"))
        return super().login(request, extra_context)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        # Not behind admin_view: who has no second factor yet has no permission.
        return [path("second-factor/", self.second_factor, name="second_factor"), *super().get_urls()]

    @method_decorator([never_cache, csrf_protect])
    def second_factor(self, request: HttpRequest) -> HttpResponse:
        """Sets up the authenticator: once without a code, and again only by who has shown the present one."""
        if not (_must_set_up(request) or self.has_permission(request)):
            return HttpResponseRedirect(reverse("admin:login"))
        if second_factor.has_device(request.user) and not request.user.is_verified():  # type: ignore[union-attr]
            return HttpResponseRedirect(reverse("admin:login"))
        device = second_factor.new_device(request.user)
        form = SetUpForm(request.POST or None)
        context = {"title": "Second factor", "form": form, "site_header": self.site_header}
        if form.is_valid():
            codes = second_factor.confirm(request, device, form.cleaned_data["code"])
            if codes is not None:
                return render(request, "operators/second_factor.html", context | {"recovery_codes": codes})
            form.add_error("code", "That is not the present code. Is the phone's clock right? Try the next one.")
        shown = {"secret": _base32(device), "image": _image(device.config_url)}
        return render(request, "operators/second_factor.html", context | shown)


def _must_set_up(request: HttpRequest) -> bool:
    """Whether a staff member is signed in by password alone, and has nothing else to show."""
    user: Any = request.user
    is_staff = user.is_active and user.is_staff
    return is_staff and not second_factor.passed(user) and not second_factor.has_device(user)


def _base32(device: Any) -> str:
    return str(device.config_url.partition("secret=")[2].partition("&")[0])


def _image(url: str) -> SafeString:
    """The URL as a QR code: SVG, without a style of its own, which the pages' policy would refuse."""
    return mark_safe(segno.make(url, error="m").svg_inline(scale=5, dark="#000", light="#fff"))  # noqa: S308
