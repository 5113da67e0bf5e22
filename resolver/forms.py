"""What people fill in: payouts by outcome, and reasons. All of it works without JavaScript."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from resolver.payouts import ONE, InvalidPayouts, check_payouts, read_payout

LONGEST_REASON = 2_000  # characters
AS_WRITTEN = ""


class ReasonForm(forms.Form):
    """Why; for whoever reads the audit."""

    reason = forms.CharField(
        max_length=LONGEST_REASON,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 80}),
        help_text="It is kept in the audit.",
    )


class AskForm(ReasonForm):
    """A resolution: `outcomes` are the names to show, by index; `payouts` of a valid form is None to void."""

    def __init__(self, data: Any, *, outcomes: Sequence[str], is_proposal: bool) -> None:
        super().__init__(data)
        self.payouts: list[int] | None = None
        self._outcomes = outcomes if is_proposal else ()
        if is_proposal:
            winners = [(str(index), f"{name} wins: it gets 1, and the others nothing") for index, name in self._named()]
            self.fields["winner"] = forms.ChoiceField(
                choices=[(AS_WRITTEN, "The payouts are as written below"), *winners],
                required=False,
                widget=forms.RadioSelect,
                label="Outcome",
            )
        for index, name in self._named():
            self.fields[f"payout_{index}"] = forms.CharField(
                label=name,
                max_length=60,
                required=False,
                widget=forms.TextInput(attrs={"size": 24, "inputmode": "decimal", "autocomplete": "off"}),
            )
        self.order_fields(["winner", *(f"payout_{index}" for index, _ in self._named()), "reason"])

    @property
    def payout_fields(self) -> list[forms.BoundField]:
        return [self[f"payout_{index}"] for index, _ in self._named()]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        names = [f"payout_{index}" for index, _ in self._named()]
        if names and cleaned.keys() >= {"winner", *names}:
            self._clean_payouts(cleaned["winner"], {index: cleaned[name] for index, name in enumerate(names)})
        return cleaned

    def _clean_payouts(self, winner: str, written: Mapping[int, str]) -> None:
        if winner != AS_WRITTEN:
            if any(written.values()):
                self.add_error("winner", "Either one outcome wins, or the payouts are as written: not both.")
            self.payouts = [ONE if str(index) == winner else 0 for index in written]
            return
        payouts = []
        for index, text in written.items():
            try:
                payouts.append(read_payout(text) if text else 0)
            except InvalidPayouts as error:
                self.add_error(f"payout_{index}", str(error))
        if len(payouts) == len(written):
            try:
                check_payouts(payouts, len(written))
            except InvalidPayouts as error:
                self.add_error(None, str(error))
            self.payouts = payouts

    def _named(self) -> list[tuple[int, str]]:
        return list(enumerate(self._outcomes))
