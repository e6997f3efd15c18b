"""vclaw: a real virtual machine, the full OpenClaw agent in it, your project mounted."""

__version__ = "0.1.0"
