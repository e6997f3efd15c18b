"""Files that run inside the guest; the seed carries them there as they are."""
