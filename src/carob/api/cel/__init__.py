"""The expression language of the API (CEL): one place for everybody who checks expressions or runs them.

cel-expr-python reads the text (`syntax`); it is imported with the first expression. The rest is ours: `inference` says before
anything runs what is wrong with the types, `evaluation` runs an expression over Python's own values (`values`) and counts what it
costs, and the libraries beside them are upstream's.
Pure.
"""
