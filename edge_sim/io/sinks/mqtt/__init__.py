"""Events on an MQTT broker, with retained states, Home Assistant discovery and commands."""
