"""Validated values: what is wrong with one is said in one sentence."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from esiamfc_lib.errors import StudyError

Count = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]


class Parameters(BaseModel):
    """Base of all parameter models: frozen, strict types, unknown names forbidden."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def validated(cls, values: dict[str, Any], where: str = ""):
        """Build the model; a fault becomes one sentence that names the parameter.

        Raises:
            StudyError: an unknown name, a wrong type or a value out of range.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise StudyError(_sentence(error, where or cls.__name__)) from None


def _sentence(error: ValidationError, where: str) -> str:
    faults = []
    for fault in error.errors():
        name = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            faults.append(f"unknown parameter {name!r}")
        else:
            faults.append(f"parameter {name!r} = {fault.get('input')!r}: {fault['msg']}")
    hint = ""
    if any("1e-" in str(f.get("input", "")) for f in error.errors()):
        hint = " (YAML reads 1e-2 as text: write 1.0e-2)"
    return f"{where}: {'; '.join(faults)}{hint}"
