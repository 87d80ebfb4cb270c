"""Named specimens."""

from __future__ import annotations

from types import MappingProxyType

from particle_nb.core.errors import DataError
from particle_nb.core.synthetic.detectors import Detector, Exposure
from particle_nb.core.synthetic.population import Population, Sizes
from particle_nb.core.synthetic.settings import Ground, SceneSettings

#: Ready-made specimens, name -> settings of 512 x 512 pixels.
PRESETS = MappingProxyType(
    {
        "sparse spheres": SceneSettings(
            populations=(Population("sphere", sizes=Sizes("lognormal", 380, 1.35)),),
            count=60,
            detectors=(Detector(asymmetry=0.15),),
            exposure=Exposure(dose=120),
        ),
        "latex monolayer": SceneSettings(
            populations=(
                Population("sphere", sizes=Sizes("lognormal", 420, 1.03), material="polymer"),
            ),
            count=150,
            packing="ordered",
            detectors=(Detector(edge=0.2, tilt=0.5),),
        ),
        "metal powder": SceneSettings(
            pixel_nm=250.0,
            populations=(
                Population(
                    "sphere",
                    0.6,
                    Sizes("rrsb", 13000, 2.6),
                    material="iron",
                    sq_nm=120,
                    correlation_nm=1500,
                ),
                Population(
                    "ellipsoid",
                    0.12,
                    Sizes("rrsb", 14000, 2.6),
                    aspect=(0.6, 0.95),
                    flat=False,
                    material="iron",
                ),
                Population("blob", 0.06, Sizes("rrsb", 11000, 2.6), material="iron"),
                Population("sphere", 0.4, Sizes("lognormal", 3600, 1.3), material="iron"),
            ),
            count=260,
            packing="heap",
            ground=Ground("carbon", 0.05, 20, power=2.0),
            detectors=(Detector(shadow=0.9, asymmetry=0.25, tilt=0.45), Detector("BSE")),
            exposure=Exposure(contrast=0.23, dose=220, banner=True),
        ),
        "battery powder": SceneSettings(
            pixel_nm=60.0,
            populations=(
                Population(
                    "agglomerate",
                    sizes=Sizes("lognormal", 6500, 1.3),
                    primaries=(90, 200),
                    compactness=1.0,
                    aspect=(0.6, 1.0),
                    material="nmc",
                ),
            ),
            count=45,
            packing="heap",
            detectors=(Detector(shadow=0.85, edge=0.5), Detector("BSE")),
            exposure=Exposure(contrast=0.22, banner=True),
        ),
        "TEM plates": SceneSettings(
            pixel_nm=0.6,
            populations=(
                Population(
                    "triangle",
                    0.5,
                    Sizes("lognormal", 32, 1.2),
                    aspect=(0.15, 0.25),
                    rounding=0.03,
                    material="silver",
                ),
                Population(
                    "hexagon",
                    0.5,
                    Sizes("lognormal", 32, 1.2),
                    aspect=(0.15, 0.25),
                    rounding=0.02,
                    material="silver",
                ),
                Population("sphere", 0.3, Sizes("lognormal", 14, 1.2), material="silver"),
            ),
            count=55,
            packing="overlap",
            ground=Ground("carbon", 0.05, 1.5),
            detectors=(Detector("STEM", edge=0.4, edge_px=1.5, grain=0.12),),
            exposure=Exposure(brightness=0.72, contrast=0.25, dose=90, gradient=0.04),
        ),
        "soot chains": SceneSettings(
            pixel_nm=1.0,
            populations=(
                Population(
                    "agglomerate",
                    sizes=Sizes("lognormal", 90, 1.5),
                    primaries=(12, 60),
                    compactness=0.05,
                    flat=False,
                    material="carbon",
                ),
            ),
            count=16,
            packing="overlap",
            ground=Ground("carbon", 0.06, 2.0),
            detectors=(Detector("STEM", edge=0.5, grain=0.2),),
            exposure=Exposure(brightness=0.66, contrast=0.2, dose=60),
        ),
        "rods": SceneSettings(
            pixel_nm=4.0,
            populations=(
                Population(
                    "rod",
                    sizes=Sizes("lognormal", 150, 1.2),
                    aspect=(0.12, 0.35),
                    rounding=0.3,
                    material="titania",
                ),
            ),
            count=90,
            packing="heap",
            detectors=(Detector(edge=0.6, tilt=0.5),),
            exposure=Exposure(contrast=0.22),
        ),
        "polyhedra BSE": SceneSettings(
            pixel_nm=40.0,
            populations=(
                Population(
                    "polyhedron",
                    0.7,
                    Sizes("lognormal", 2000, 1.4),
                    flat=False,
                    rounding=0.01,
                    material="alumina",
                ),
                Population(
                    "polyhedron",
                    0.3,
                    Sizes("lognormal", 1500, 1.4),
                    flat=False,
                    rounding=0.01,
                    material="copper",
                ),
            ),
            count=130,
            packing="heap",
            detectors=(Detector("BSE", asymmetry=0.15), Detector("SE")),
            exposure=Exposure(contrast=0.22, dose=200),
        ),
        "cubes": SceneSettings(
            pixel_nm=2.0,
            populations=(
                Population(
                    "cube",
                    sizes=Sizes("lognormal", 80, 1.12),
                    aspect=(0.85, 1.0),
                    rounding=0.06,
                    material="silver",
                ),
            ),
            count=110,
            packing="clusters",
            detectors=(Detector(edge=0.7, edge_px=2.0),),
        ),
        "optical bright field": SceneSettings(
            pixel_nm=500.0,
            populations=(
                Population("blob", 0.6, Sizes("lognormal", 18000, 1.5), material="titania"),
                Population("ellipsoid", 0.4, Sizes("lognormal", 15000, 1.4), material="silica"),
            ),
            count=50,
            gap_px=0,
            ground=Ground("silica", 0.02, 30, power=2.0),
            detectors=(Detector("brightfield", edge=0.5, edge_px=2.0, tilt=1.0),),
            exposure=Exposure(
                brightness=0.72,
                contrast=0.22,
                defocus=1.3,
                dose=900,
                gradient=0.1,
                vignette=0.25,
                line_noise=0,
            ),
        ),
        "reflected light": SceneSettings(
            pixel_nm=800.0,
            populations=(
                Population("sphere", sizes=Sizes("lognormal", 30000, 1.3), material="copper"),
            ),
            count=70,
            packing="monolayer",
            detectors=(Detector("reflected", edge=0.8, azimuth=120),),
            exposure=Exposure(contrast=0.2, defocus=1.2, dose=800, vignette=0.3, line_noise=0),
        ),
        "rough spheres": SceneSettings(
            populations=(
                Population(
                    "sphere",
                    sizes=Sizes("lognormal", 800, 1.15),
                    sq_nm=14,
                    correlation_nm=60,
                    material="silica",
                ),
            ),
            count=26,
            packing="clusters",
            detectors=(Detector(edge=0.5, shadow=0.8),),
            exposure=Exposure(contrast=0.2),
        ),
        "charging insulator": SceneSettings(
            populations=(
                Population(
                    "blob",
                    sizes=Sizes("lognormal", 420, 1.4),
                    aspect=(0.6, 1.0),
                    material="polymer",
                ),
            ),
            count=70,
            packing="clusters",
            detectors=(Detector(edge=0.5, asymmetry=0.3),),
            exposure=Exposure(charging=0.7, line_noise=0.015, dose=60),
        ),
    }
)


def preset(name: str) -> SceneSettings:
    """Return one of `PRESETS`.

    Raises
    ------
    DataError
        If there is none of that name.

    Examples
    --------
    >>> preset("rods").packing
    'heap'
    """
    if name not in PRESETS:
        raise DataError(f"no preset {name!r}; there are {', '.join(PRESETS)}.")
    return PRESETS[name]
