"""Validated values: what is wrong with one is said in one sentence."""

import re
from collections.abc import Callable
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from esiamfc_lib.errors import StudyError, refused

Count = Annotated[int, Field(ge=1, le=10**9)]
NonNegativeInt = Annotated[int, Field(ge=0, le=10**9)]
Processes = Annotated[int, Field(ge=1, le=1024)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
Several = Annotated[int, Field(ge=2, le=10**6)]
Pixels = Annotated[int, Field(ge=64, le=4096)]
File = Annotated[str, Field(pattern=r"^(~(/|$)|[^~\x00-\x1f]|$)[^\x00-\x1f]*$")]  # path, or nothing
Folder = Annotated[File, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
Scheduler = Annotated[str, Field(pattern=r"^(\w+://\S+)?$")]


def within(least: float, most: float, kind: type = int) -> Callable[[str], float]:
    """The type of an option of the command line: whole numbers, or of another kind, in a range."""

    def number(text: str) -> float:
        if not least <= kind(text) <= most:
            raise ValueError
        return kind(text)

    number.__name__ = f"number from {least} to {most}:"  # argparse shows it in its sentence
    return number


def param(default: Any, description: str, **bounds: float) -> Any:
    """A parameter: its default, what it means, and bounds as of ``pydantic.Field``."""
    return Field(default, description=description, **bounds)


class Parameters(BaseModel):
    """Base of all parameter models: frozen, strict types, unknown names forbidden."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _distinct(cls, value: Any) -> Any:
        if isinstance(value, list) and len({*map(str, value)}) < len(value):
            raise ValueError("something stands there twice")
        return value

    @classmethod
    def validated(cls, values: dict[str, Any] | bytes, where: str = ""):
        """Build the model, from JSON where bytes are given; faults become a StudyError."""
        try:
            return cls.model_validate_json(values) if isinstance(values, bytes) else cls(**values)
        except ValidationError as error:
            faults = [_sentence(fault) for fault in error.errors()]
            hint = " (YAML reads 1e-2 and 1.0e9 as text: write 1.0e-2 and 1.0e+9)"
            texts = [f["input"] for f in error.errors() if isinstance(f["input"], str)]
            hint *= any(re.fullmatch(r"[-+]?[\d.]+[eE][-+]?\d+", text) for text in texts)
            raise StudyError(f"{where or cls.__name__}: {'; '.join(faults)}{hint}") from None


def _sentence(fault: ErrorDetails) -> str:
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown parameter {name!r}"
    if not name:  # what is no JSON, or no object
        return fault["msg"]
    return f"parameter {name!r} = {repr(fault['input'])[:100]}: {fault['msg']}"


class _Yaml(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        keys = {key.value for key, _ in node.value if key.tag.endswith(":str")}
        if len(keys) < len(node.value):
            raise yaml.YAMLError(f"a key is no text, or is given twice,{node.start_mark}")
        return super().construct_mapping(node, deep)


def read_yaml(text: str | bytes, where: str) -> Any:
    """What a YAML text says; a StudyError where it is none, hides a mistake (a key given twice) or
    may grow without end (aliases)."""
    with refused(f"{where} is not valid YAML", (yaml.YAMLError, ValueError, RecursionError)):
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError("aliases (*name) are not read: write the value out")
        return yaml.load(text, _Yaml)
