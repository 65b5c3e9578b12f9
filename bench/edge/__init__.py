"""What a frame costs at the edge."""
