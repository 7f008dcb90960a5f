"""Who owns which field: field sets, managedFields, and the merge that server-side apply is. Pure.

`forms` says how a type's lists and maps merge, `field_sets` calculates with sets of fields, `trees` walks objects,
`owners` reads and writes managedFields, `updating` and `applying` are the two ways in which ownership changes.
"""
