"""Templates: a booted guest's memory and disk, kept once, from which many claws begin.

A template is taken before any claw's secret or mount: the operating system is up and the runtime
disk's files are in memory. What runs in it is nobody's, and OpenClaw is no part of it.
"""
