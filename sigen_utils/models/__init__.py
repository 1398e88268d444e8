"""Networks: what maps codes to pictures and noise to codes. No training, no data, no files."""
