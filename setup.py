"""The optional compiled part; everything else is in pyproject.toml.

Without a compiler or Python's headers the install goes on, and the row loops
run in Python (``protocols.postgres.rows.COMPILED`` says which it is).
"""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "protocols.postgres._rowloop",
            ["protocols/postgres/_rowloop.c"],
            depends=["protocols/postgres/_out.h"],
            extra_compile_args=["-O3", "-Wall", "-Wextra"],
            optional=True,
        )
    ]
)
