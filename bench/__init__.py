"""What the gateway costs on this machine, next to what one would use instead."""
