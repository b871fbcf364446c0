"""git's own protocol (gitprotocol-pack(5), gitprotocol-v2(5)), over any carrier."""
