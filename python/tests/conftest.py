"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# No test measures time, and others run beside it.
settings.register_profile(
    "patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")
