"""The engine against scripted customers and gateways on a simulated network (ARCHITECTURE, how we prove it).

Nothing here but `network`, `scenario` and `mutants` imports sipsvc: the agents and the checks are an
independent reading of the RFCs and of the price rules.
"""
