"""What a picture itself carries, and where the desk has seen it before."""
