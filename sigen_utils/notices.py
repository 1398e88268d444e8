"""Warnings about data that commands print as one line each, and notebooks show as warnings."""


class DataNotice(UserWarning):
    """What was left out on purpose: forgeries, files that are no pictures."""


class DataWarning(DataNotice):
    """What is missing: a picture that could not be read, a person with too few signatures. The status is 1 then."""
