"""Running compiled models on a device: the emulator, the simulator, or a board."""
