"""The portal against its rivals: what they are asked, how, and the table that comes out."""
