"""Metrics: a watched number is asked for whenever somebody looks."""

from prometheus_client import CollectorRegistry

from homeserver.app.metrics import render, watch


def test_watched_numbers_are_read_when_rendered():
    registry = CollectorRegistry()
    queue = []
    watch("homing_queue_length", "What waits.", lambda: len(queue), registry=registry)
    assert b"homing_queue_length 0.0" in render(registry)
    queue += [1, 2]
    assert b"homing_queue_length 2.0" in render(registry)
    assert b"# HELP homing_queue_length What waits." in render(registry)
