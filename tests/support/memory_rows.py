"""All that a memory file holds, for comparing two of them."""

import sqlite3
from contextlib import closing

TABLES = ("captions", "embeddings", "scores", "visual_slots")


def everything(memory):
    """Rows of every table by the stream's name, in one order; the file is checked too."""
    with closing(sqlite3.connect(memory)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = dict(database.execute("SELECT id, name FROM streams"))
        return {
            table: sorted((names[row[0]], *row[1:]) for row in database.execute(f"SELECT * FROM {table}"))
            for table in TABLES
        }


def stored_texts(memory):
    """{(stream, clip): caption}"""
    return {(stream, clip): text for stream, clip, _, _, text, *_ in everything(memory)["captions"]}
