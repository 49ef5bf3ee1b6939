"""What a threshold is chosen for: a share to reach, or what each kind of mistake costs."""

from __future__ import annotations

from pydantic import Field, model_validator

from include.workflow.part import Part

# "recall@precision=0.6": the greatest recall at a precision of at least 0.6.
GOAL = r"^(f1|accuracy|recall@precision=(0?\.\d+|1)|precision@recall=(0?\.\d+|1))$"


class Costs(Part):
    """What a mistake costs, in any unit: only their proportion matters."""

    false_positive: float = Field(default=1, ge=0, description="of a false alarm")
    false_negative: float = Field(default=1, ge=0, description="of a positive that was missed")

    @model_validator(mode="after")
    def _check(self) -> Costs:
        if self.false_positive == self.false_negative == 0:
            raise ValueError("both mistakes cost nothing: give at least one a cost")
        return self
