"""The pipeline for plain doit: `doit list --all`, `doit image:debian-12`, `doit ready:<claw>`."""

from vclaw.tasks.plain import DOIT_CONFIG, task_vclaw

__all__ = ["DOIT_CONFIG", "task_vclaw"]
