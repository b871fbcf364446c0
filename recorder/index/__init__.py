"""What is built from Logs to search them: a cache that can be deleted.

``wanted`` says which sessions and items are asked for, and is the only judge;
``content`` is what is kept of a Log; ``grams`` narrows a search of text;
``tables`` keeps all that in a ``database`` (SQLite, PostgreSQL); ``upkeep``
takes in new Logs; ``search`` answers, with an index or without.
"""
