"""Events wait on disk until every sink has them; one worker per sink delivers them."""
