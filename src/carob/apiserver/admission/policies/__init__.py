"""Admission policies: what people say in expressions (CEL) about writes, without a webhook.

`index` knows which policies and bindings there are and is all that a request without any pays for. With the first one that
matches come `evaluation` and the expression language. `validating` judges, `mutating` changes; `type_checking` writes a
validating policy's status.

Source: apiserver `pkg/admission/plugin/policy`.
"""
