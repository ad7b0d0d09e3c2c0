"""The interactive consoles of pods, as TCP ports that nova-serialproxy connects to."""
