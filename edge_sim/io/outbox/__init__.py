"""Events wait on disk until every sink has them; one courier per sink brings them there."""
