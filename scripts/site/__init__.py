"""What makes a site of the Markdown in this repository: ``make docs``."""
