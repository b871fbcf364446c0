"""Recordings in other formats: pure makers of lines and bytes."""
