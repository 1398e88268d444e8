"""The one reader and the one normaliser of pictures: of sheets, signatures, uploads and synthetic ink."""

from .reading import SUFFIXES, ImageError, Page, is_picture, iter_pages, read_pages, shown

__all__ = ["SUFFIXES", "ImageError", "Page", "is_picture", "iter_pages", "read_pages", "shown"]
