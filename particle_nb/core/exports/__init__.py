"""Results as files for other programs, and those files back."""

from particle_nb.core.exports.coco import read_coco, write_coco
from particle_nb.core.exports.labels import OverlapWarning, read_labels, write_labels
from particle_nb.core.exports.methods import methods_text
from particle_nb.core.exports.napari import napari_layers
from particle_nb.core.exports.polygons import AnnotationWarning, read_geojson, write_geojson
from particle_nb.core.exports.report_book import write_workbook
from particle_nb.core.exports.roi import RoiWarning, read_rois, write_rois
from particle_nb.core.exports.surfaces import write_cloud, write_surface
from particle_nb.core.exports.tables import (
    read_csv,
    read_xlsx,
    write_csv,
    write_parquet,
    write_xlsx,
)
from particle_nb.core.exports.volumes import read_volume, write_volume

__all__ = [
    "AnnotationWarning",
    "OverlapWarning",
    "RoiWarning",
    "methods_text",
    "napari_layers",
    "read_coco",
    "read_csv",
    "read_geojson",
    "read_labels",
    "read_rois",
    "read_volume",
    "read_xlsx",
    "write_cloud",
    "write_coco",
    "write_csv",
    "write_geojson",
    "write_labels",
    "write_parquet",
    "write_rois",
    "write_surface",
    "write_volume",
    "write_workbook",
    "write_xlsx",
]
