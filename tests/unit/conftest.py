"""Properties are about what is true, not about how busy the machine is: what must be quick is
measured in CPU time by tests of its own."""

from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
