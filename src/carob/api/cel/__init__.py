"""The expression language of the API (CEL): one environment for everybody, with upstream's libraries.

Pure. Expressions are checked and run by cel-expr-python, imported with the first of them; what is ours is what upstream adds
to the language. Values of its types (quantities, versions, addresses, URLs) are maps, because the library knows no foreign
values, of types that nothing else has, so that the check tells them apart; when it runs, it tells a function's overloads by
the kinds of their arguments alone, so one implementation serves all that take maps.
"""
