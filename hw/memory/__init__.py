"""Memory system: AXI ports, streams, and the mover between memory and workspace."""
