"""The plots of reports, as SVG."""
