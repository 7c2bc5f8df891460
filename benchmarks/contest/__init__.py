"""Compares the portal with other servers (rivals): requests, clients, tables of results."""
