"""The record of sessions. Importing ``protocols`` first settles whether compiled
modules run, also those of this package."""

import protocols as protocols
