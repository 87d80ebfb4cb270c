"""Parameterised notebooks run by papermill into offline reports, and their collected results."""

from particle_nb.validation.collection import collect
from particle_nb.validation.page import literal, write_html
from particle_nb.validation.results import PACKAGES, image_names, provenance, software, write_json
from particle_nb.validation.running import Run, notebook_parameters, notebook_path, report, validate

__all__ = [
    "PACKAGES",
    "Run",
    "collect",
    "image_names",
    "literal",
    "notebook_parameters",
    "notebook_path",
    "provenance",
    "report",
    "software",
    "validate",
    "write_html",
    "write_json",
]
