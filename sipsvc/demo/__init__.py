"""Test aids that ship with sipsvc: a caller, two gateways and a load run. They are no part of the service.

They keep to small code of their own, so that a fault in `sipsvc.message` cannot hide itself here.
"""
