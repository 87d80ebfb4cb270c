"""What a notebook shows and takes clicks from."""
