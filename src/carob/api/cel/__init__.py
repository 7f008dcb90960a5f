"""The expression language of the API (CEL): one place for everybody who checks expressions or runs them.

`checking` says before anything runs whether an expression can be understood, and of what type its value is; `evaluation` runs
it and counts what it costs. cel-expr-python reads the text and checks types; it is imported with the first expression. What
runs is ours: upstream's libraries, costs and messages, over Python's own values (`values`).
Pure.
"""
