"""What the options of families share whose kernels and factors may differ from axis to axis."""

from __future__ import annotations

from typing import Self

from pydantic import PositiveInt, model_validator

from napari_unet.networks.options.base import BlockOptions

Widths = tuple[tuple[PositiveInt, ...], ...]


class SidedOptions(BlockOptions):
    """Options of families whose levels have kernels and factors of their own.

    Attributes
    ----------
    depth : int
        How often the resolution is reduced.
    kernels : tuple of tuple of int, optional
        Kernel sides (one an axis) of each level, instead of `kernel`.
    factors : tuple of tuple of int, optional
        Down-sampling (one an axis) between levels; 2 along every axis by default.
    """

    depth: int
    kernels: Widths | None = None
    factors: Widths | None = None

    @model_validator(mode="after")
    def _sides_fit(self) -> Self:
        self.check_levels(kernels=1, factors=0)
        for sides in (*(self.kernels or ()), *(self.factors or ())):
            if len(sides) != self.dims:
                message = f"kernels and factors need {self.dims} sides for each level, not {sides}"
                raise ValueError(message)
        if any(side % 2 == 0 for kernel in self.kernels or () for side in kernel):
            message = f"kernels must be odd, not {self.kernels}"
            raise ValueError(message)
        return self

    def check_levels(self, **more: int) -> None:
        """Check that options have one entry a level: so many more than `depth`.

        Raises
        ------
        ValueError
            If one has not.
        """
        for name, count in more.items():
            given = getattr(self, name)
            if given is not None and len(given) != self.depth + count:
                message = f"depth {self.depth} needs {self.depth + count} {name}, and {len(given)} were given"
                raise ValueError(message)

    def level_kernel(self, level: int) -> tuple[int, ...]:
        """Kernel sides of a level."""
        return self.kernels[level] if self.kernels else (self.kernel,) * self.dims

    def level_factor(self, level: int) -> tuple[int, ...]:
        """Down-sampling from a level to the next."""
        return self.factors[level] if self.factors else (2,) * self.dims

    @property
    def stride(self) -> int:
        """Total down-sampling along the axis where it is largest."""
        return max(self.strides)

    @property
    def strides(self) -> tuple[int, ...]:
        """Total down-sampling along each axis."""
        totals = (1,) * self.dims
        for level in range(self.depth):
            totals = tuple(total * factor for total, factor in zip(totals, self.level_factor(level), strict=True))
        return totals
