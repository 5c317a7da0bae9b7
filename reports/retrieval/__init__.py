"""Retrieval pictures: a query, the gallery images that a method found nearest, and which of them are right.

lists.py reads what runs recorded, choosing.py picks queries, ignored.py places what the protocol hides, strips.py puts
together what is shown of one query, drawing.py draws it, writing.py is the verb.
"""

from .choosing import choose_queries
from .lists import common_protocol
from .strips import Options, Strip, strips
from .writing import save_pages, write_retrieval

__all__ = ["Options", "Strip", "choose_queries", "common_protocol", "save_pages", "strips", "write_retrieval"]
