"""Parts of the training and export of the default model; the programs are one folder up."""
