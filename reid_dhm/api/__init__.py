"""The public interface; :mod:`reid_dhm` exports it."""
