"""The verbs: each a function from a parsed request to an answer. They raise ApiError; the edge turns it into an answer."""
