"""The site of documentation, which `make docs` builds with MkDocs (`mkdocs.yml`)."""
