"""Events on an MQTT broker, with retained states, Home Assistant discovery and commands."""

from __future__ import annotations

from edge_sim.sinks.mqtt.sink import MqttSink

__all__ = ["MqttSink"]
