"""`describe`, a file per kind or family of kinds; each turns trees into kubectl's text.

Source: kubectl pkg/describe/describe.go.
"""
