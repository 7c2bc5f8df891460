"""The portal's pages in Django's admin."""
