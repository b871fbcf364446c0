"""Looks into what peers pushed, in a process apart and a directory that is thrown away.

``quarantine.py`` is the gateway's end of it; the rest runs in the process.
"""
