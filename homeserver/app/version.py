"""What this software is called when others ask. A test holds the version against pyproject.toml."""

NAME = "Homing"
VERSION = "0.1.0"
