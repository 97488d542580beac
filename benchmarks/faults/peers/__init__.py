"""The tools a user can install today, on the scripts of this benchmark."""
