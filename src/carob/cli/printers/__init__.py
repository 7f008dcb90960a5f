"""How answers are printed: kubectl's tables, JSON, YAML, names, JSONPath and custom columns, to the byte."""
