"""The codes with which the gateway closes websockets: RFC 6455, 7.4.1, and IANA's registry.

Clients connect again after GOING_AWAY and TRY_AGAIN_LATER.
"""

GOING_AWAY = 1001
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013
