"""The tracker as other programs call it: the toolkits of GOT-10k and VOT."""
