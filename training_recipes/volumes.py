"""Synthetic volumes of nuclei in fluorescence: what is there, what a microscope makes of it, what a camera counts.

Nothing here was measured on a particular image: every volume draws its tissue, optics and camera from wide ranges. The
same seed makes the same volume. Lengths are in µm unless a name says pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from scipy.special import expit

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint16]

SMALLEST_PX = 25
# Slices that a nucleus goes through at least, and how much of it the point spread function covers at most: whatever is
# worse is not segmented by anybody.
LEAST_SLICES = 4.5
MOST_BLUR = 0.3
# Around a nucleus, in radii: dents reach so far.
REACH = 1.3
TRIES = 12


@dataclass(frozen=True, slots=True)
class Tissue:
    """What is there.

    Attributes
    ----------
    shape : (Z, Y, X)
    voxel : (z, in the plane)
    diameter, spread : float
        Median diameter of the nuclei, and standard deviation of its logarithm.
    flatness, tilt : float
        Height of a nucleus beside its width, and standard deviation of its angle to the plane, in radians.
    fill, distance : float
        Share of the space that is wanted to be nuclei, and how near to each other their centres may be, in sums of
        their radii; below 1 neighbours press on each other.
    clustering : float
        From 0, evenly spread, to 1, in clusters.
    dents, chromatin, nucleoli, rim, variety : float
        How uneven the shape is, how grainy, how dark nucleoli are, how much brighter the rim, and how unequal nuclei
        are.
    """

    shape: tuple[int, int, int]
    voxel: tuple[float, float]
    diameter: float
    spread: float = 0.15
    flatness: float = 1.0
    tilt: float = 0.5
    fill: float = 0.2
    distance: float = 0.95
    clustering: float = 0.5
    dents: float = 0.1
    chromatin: float = 0.2
    nucleoli: float = 0.3
    rim: float = 0.0
    variety: float = 0.3

    @property
    def steps(self) -> npt.NDArray[np.float64]:
        """Size of a voxel along Z, Y and X."""
        return np.array([self.voxel[0], self.voxel[1], self.voxel[1]])

    def in_pixels(self, length: float) -> tuple[float, float, float]:
        """Return a length along Z, Y and X in pixels."""
        return length / self.voxel[0], length / self.voxel[1], length / self.voxel[1]


@dataclass(frozen=True, slots=True)
class Optics:
    """What a microscope makes of it.

    Attributes
    ----------
    aperture, index, wavelength : float
        Numerical aperture, refractive index of the medium, wavelength of the light in µm.
    confocal : bool
        Whether a pinhole keeps out light from above and below.
    aberration : float
        How many times wider than in theory a point is.
    haze : float
        Share of light from far out of focus.
    attenuation, scattering : float
        Depth at which light has fallen to 1 / e, and how much wider than at the surface a point is at the bottom.
    """

    aperture: float = 1.0
    index: float = 1.33
    wavelength: float = 0.52
    confocal: bool = True
    aberration: float = 1.0
    haze: float = 0.1
    attenuation: float = 100.0
    scattering: float = 0.3

    @property
    def spread(self) -> tuple[float, float]:
        """Standard deviations of the point spread function along Z and in the plane.

        The Gaussian that agrees with the paraxial model at its peak; a small pinhole, with light of about the same
        wavelength on both ways, divides both by the root of 2.

        References
        ----------
        Zhang, Zerubia and Olivo-Marin (2007), https://doi.org/10.1364/AO.46.001819.
        """
        k = 2 * math.pi / self.wavelength
        axial, lateral = 2 * math.sqrt(6) * self.index / (k * self.aperture**2), math.sqrt(2) / (k * self.aperture)
        wider = self.aberration / (math.sqrt(2) if self.confocal else 1.0)
        return wider * axial, wider * lateral


@dataclass(frozen=True, slots=True)
class Camera:
    """What is counted.

    Attributes
    ----------
    photons : float
        That a nucleus of ordinary brightness gives a voxel.
    background : float
        Light where nothing is, beside such a nucleus.
    read_noise, gain, offset : float
        Electrons, counts an electron, counts without light.
    """

    photons: float = 100.0
    background: float = 0.1
    read_noise: float = 2.0
    gain: float = 1.0
    offset: float = 100.0


def draw_settings(rng: np.random.Generator, depth: tuple[int, int], side: int) -> tuple[Tissue, Optics, Camera]:
    """Draw what a volume is made with.

    Parameters
    ----------
    rng : numpy Generator
    depth : (least, most)
        Slices.
    side : int
        Pixels along Y and X.
    """
    diameter = rng.uniform(5, 11)
    across_px, flatness = _between(rng, 7, 26), min(1.0, rng.uniform(0.45, 1.25))
    step = diameter / across_px
    anisotropy = min(_between(rng, 1, 5), max(1.0, across_px * flatness / LEAST_SLICES))
    tissue = Tissue(
        shape=(int(rng.integers(depth[0], depth[1] + 1)), side, side),
        voxel=(step * anisotropy, step),
        diameter=diameter,
        spread=rng.uniform(0.05, 0.25),
        flatness=flatness,
        tilt=rng.uniform(0.1, 0.9) * flatness**2,
        fill=_between(rng, 0.05, 0.6),
        distance=rng.uniform(0.65, 1.1),
        clustering=rng.uniform(0, 1),
        dents=rng.uniform(0.03, 0.15),
        chromatin=rng.uniform(0.05, 0.4),
        nucleoli=rng.uniform(0, 0.6),
        rim=rng.uniform(-0.4, 0.4),
        variety=rng.uniform(0.1, 0.5),
    )
    return tissue, _draw_optics(rng), _draw_camera(rng)


def _draw_optics(rng: np.random.Generator) -> Optics:
    confocal, aperture = bool(rng.random() < 0.65), rng.uniform(0.5, 1.4)
    return Optics(
        aperture=aperture,
        index=1.0 if aperture < 0.9 else 1.33 if aperture < 1.2 else 1.52,
        wavelength=rng.uniform(0.45, 0.68),
        confocal=confocal,
        aberration=rng.uniform(1, 2),
        haze=rng.uniform(0, 0.15) if confocal else rng.uniform(0.1, 0.6),
        attenuation=_between(rng, 20, 400),
        scattering=rng.uniform(0, 0.8),
    )


def _draw_camera(rng: np.random.Generator) -> Camera:
    return Camera(
        photons=_between(rng, 10, 400),
        background=_between(rng, 0.01, 0.5),
        read_noise=rng.uniform(0.5, 6),
        gain=_between(rng, 0.3, 10),
        offset=rng.uniform(0, 500),
    )


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def make_volume(
    tissue: Tissue, optics: Optics, camera: Camera, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint16], Labels]:
    """Make a volume and its labels.

    Returns
    -------
    image : (Z, Y, X) uint16
    labels : (Z, Y, X) uint16
        Instance ids from 1 without gaps, each one connected piece; 0 is background.
    """
    labels, depth = place_nuclei(tissue, rng)
    light = see(shine(labels, depth, tissue, rng), tissue, optics)
    return count(light, camera, rng), labels


# --- what is there ------------------------------------------------------------------------------


def place_nuclei(tissue: Tissue, rng: np.random.Generator) -> tuple[Labels, Floats]:
    """Put dented, tilted ellipsoids, touching ones with a flat face between them.

    Returns
    -------
    labels : (Z, Y, X) uint16
    depth : (Z, Y, X) float32
        From 0 in the centre of a nucleus to 1 at its surface and beyond.
    """
    labels, depth = np.zeros(tissue.shape, np.uint16), np.ones(tissue.shape, np.float32)
    dents = tissue.dents * smooth_noise(tissue.shape, tissue.in_pixels(0.25 * tissue.diameter), rng)
    for number, (centre, radius) in enumerate(_spheres(tissue, rng), start=1):
        axes = radius * np.exp(rng.normal(0, 0.15, 3)) * (tissue.flatness, 1, 1)
        box = _box(centre, REACH * axes.max(), tissue)
        if any(span.stop <= span.start for span in box):
            continue
        here = _ellipsoid(box, centre, _turned(axes, rng.normal(0, tissue.tilt), rng.uniform(0, math.pi)), tissue)
        here += dents[box]
        # A voxel belongs to the nucleus in which it lies deeper.
        nearer = here < depth[box]
        labels[box][nearer], depth[box][nearer] = number, here[nearer]
    return _whole(labels), depth


def _spheres(tissue: Tissue, rng: np.random.Generator) -> list[tuple[npt.NDArray[np.float64], float]]:
    """Draw centres and radii until the space is as full as wanted, or there is no more room."""
    radius = tissue.diameter / 2
    low, high = np.full(3, -radius), tissue.steps * tissue.shape + radius
    wanted = tissue.fill * float(np.prod(high - low)) / (4 / 3 * math.pi * radius**3 * tissue.flatness)
    tries = max(1, round(TRIES * wanted))
    centres, radii = rng.uniform(low, high, (tries, 3)), radius * np.exp(rng.normal(0, tissue.spread, tries))
    crowd = smooth_noise((12, 12, 12), (1.5, 1.5, 1.5), rng)
    cells = (11.99 * (centres - low) / (high - low)).astype(int)
    liked = rng.random(tries) < expit(6 * tissue.clustering * crowd[tuple(cells.T)])
    # A flat nucleus is as near to the next one above it as its height.
    scaled = centres / (tissue.flatness, 1, 1)
    kept: list[int] = []
    for i in np.flatnonzero(liked):
        if len(kept) >= wanted:
            break
        apart = np.linalg.norm(scaled[kept] - scaled[i], axis=1)
        if (apart >= tissue.distance * (radii[kept] + radii[i])).all():
            kept.append(int(i))
    return [(centres[i], float(radii[i])) for i in kept]


def _box(centre: npt.NDArray[np.float64], reach: float, tissue: Tissue) -> tuple[slice, ...]:
    low = np.floor((centre - reach) / tissue.steps).astype(int).clip(0)
    high = np.minimum(np.ceil((centre + reach) / tissue.steps).astype(int) + 1, tissue.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _turned(axes: npt.NDArray[np.float64], tilt: float, angle: float) -> npt.NDArray[np.float64]:
    """Return the matrix (3, 3) that turns a place relative to the centre into one relative to a unit sphere."""
    c, s, cosine, sine = math.cos(tilt), math.sin(tilt), math.cos(angle), math.sin(angle)
    tilted = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    in_plane = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    matrix: npt.NDArray[np.float64] = (tilted @ in_plane) / axes[:, None]
    return matrix


def _ellipsoid(
    box: tuple[slice, ...], centre: npt.NDArray[np.float64], matrix: npt.NDArray[np.float64], tissue: Tissue
) -> Floats:
    """Distance from the centre, 1 on the surface."""
    ranges = [
        (np.arange(span.start, span.stop) + 0.5) * step - middle
        for span, step, middle in zip(box, tissue.steps, centre, strict=True)
    ]
    z, y, x = np.meshgrid(*ranges, indexing="ij", sparse=True)
    squares = sum((row[0] * z + row[1] * y + row[2] * x) ** 2 for row in matrix)
    distance: Floats = np.sqrt(squares).astype(np.float32)
    return distance


def _whole(labels: Labels) -> Labels:
    """Keep the largest piece of each nucleus, drop tiny ones, number them without gaps."""
    numbered, number = np.zeros_like(labels), 0
    for value, box in enumerate(ndi.find_objects(labels), start=1):
        if box is None:
            continue
        pieces, found = ndi.label(labels[box] == value)
        sizes = np.bincount(pieces.ravel())[1:]
        if not found or sizes.max() < SMALLEST_PX:
            continue
        number += 1
        numbered[box][pieces == sizes.argmax() + 1] = number
    return numbered


def shine(labels: Labels, depth: Floats, tissue: Tissue, rng: np.random.Generator) -> Floats:
    """Light of each voxel: nuclei of their own brightness, clumpy chromatin, dark nucleoli, a bright or dim rim."""
    brightness = np.exp(rng.normal(0, tissue.variety, int(labels.max()) + 1)).astype(np.float32)
    brightness[0] = 0
    chromatin = 1 + tissue.chromatin * smooth_noise(labels.shape, tissue.in_pixels(0.08 * tissue.diameter), rng)
    spots = smooth_noise(labels.shape, tissue.in_pixels(0.13 * tissue.diameter), rng)
    nucleoli = 1 - tissue.nucleoli * expit(9 * (spots - 1.4))
    rim = 1 + tissue.rim * (depth.clip(0, 1) ** 2 - 0.5)
    light: Floats = (brightness[labels] * chromatin.clip(0.2) * nucleoli * rim).astype(np.float32)
    return light


# --- optics and camera --------------------------------------------------------------------------


def see(light: Floats, tissue: Tissue, optics: Optics) -> Floats:
    """Blur, more so with depth; add haze; let the light fall off with depth."""
    sigma = spread_px(tissue, optics)
    seen = blurred(light, sigma)
    deeper = np.linspace(0, 1, len(light), dtype=np.float32)[:, None, None]
    if optics.scattering:
        more = math.sqrt((1 + optics.scattering) ** 2 - 1)
        seen = seen + deeper * (blurred(seen, tuple(more * s for s in sigma)) - seen)
    if optics.haze:
        seen = (1 - optics.haze) * seen + optics.haze * blurred(seen, tissue.in_pixels(0.9 * tissue.diameter))
    um = (np.arange(len(light), dtype=np.float32) * tissue.voxel[0])[:, None, None]
    dimmed: Floats = seen * np.exp(-um / optics.attenuation)
    return dimmed


def spread_px(tissue: Tissue, optics: Optics) -> tuple[float, float, float]:
    """Return the spread of the optics along Z, Y and X in pixels, but no more than lets nuclei be told apart."""
    axial, lateral = optics.spread
    axial = min(axial, MOST_BLUR * tissue.diameter * tissue.flatness)
    lateral = min(lateral, MOST_BLUR / 2 * tissue.diameter)
    return axial / tissue.voxel[0], lateral / tissue.voxel[1], lateral / tissue.voxel[1]


def count(light: Floats, camera: Camera, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Count photons (Poisson), add read noise (Gaussian), gain and offset."""
    electrons = rng.poisson((light + camera.background) * camera.photons).astype(np.float32)
    electrons += camera.read_noise * rng.standard_normal(light.shape, dtype=np.float32)
    counts: npt.NDArray[np.uint16] = np.rint(camera.offset + camera.gain * electrons).clip(0, 65535).astype(np.uint16)
    return counts


def smooth_noise(shape: tuple[int, ...], sigma: tuple[float, ...], rng: np.random.Generator) -> Floats:
    """Smooth noise of mean 0 and standard deviation 1."""
    noise = blurred(rng.standard_normal(shape, dtype=np.float32), sigma)
    smooth: Floats = (noise - noise.mean()) / max(float(noise.std()), 1e-6)
    return smooth


def blurred(image: Floats, sigma: tuple[float, ...]) -> Floats:
    """Blur with a Gaussian; beyond the edge is what lies at it."""
    out: Floats = ndi.gaussian_filter(image, sigma, mode="nearest", truncate=3.0)
    return out
