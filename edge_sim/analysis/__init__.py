"""For people who ask: explain, replay, audit, calibrate, evaluate, report, benchmark."""
