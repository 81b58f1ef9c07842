"""The serialisable description of a network."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from napari_unet.errors import NapariUnetError


class Config(BaseModel):
    """A frozen set of settings that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Settings = TypeVar("Settings", bound=Config)


def checked(kind: type[Settings], **values: Any) -> Settings:  # noqa: ANN401
    """Make a config of what a person has given.

    Raises
    ------
    NapariUnetError
        If a value is not allowed.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(str(part) for part in fault["loc"])
        raise NapariUnetError(
            f"{fault['input']} is not allowed for {name}: {fault['msg'].removeprefix('Value error, ')}. "
            "Choose another value."
        ) from error


class NetworkSpec(Config):
    """Everything that is needed to build a network again.

    Attributes
    ----------
    variant : str
        A name from `napari_unet.variants`.
    in_channels, out_channels : int
        Channels of the input image and of the logits.
    options : dict
        The variant's own options; those not given have the variant's defaults.
    """

    variant: str
    in_channels: int = Field(default=1, ge=1)
    out_channels: int = Field(default=2, ge=1)
    options: dict[str, Any] = {}

    @field_validator("options")
    @classmethod
    def _as_tuples(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Files hold lists where we have tuples; a description is the same before and after."""
        return {name: _frozen(value) for name, value in options.items()}


def _frozen(value: Any) -> Any:  # noqa: ANN401  # options are of any kind
    return tuple(_frozen(part) for part in value) if isinstance(value, list | tuple) else value
