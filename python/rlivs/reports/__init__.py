"""Plain data in, one self-contained HTML file or one contact sheet out."""

from rlivs.reports.data import Citation, Report, ReportAnswer, ReportClip
from rlivs.reports.heatmap import heatmap_image
from rlivs.reports.page import render_report, write_report
from rlivs.reports.pictures import shrink_frames

__all__ = [
    "Citation",
    "Report",
    "ReportAnswer",
    "ReportClip",
    "heatmap_image",
    "render_report",
    "shrink_frames",
    "write_report",
]
