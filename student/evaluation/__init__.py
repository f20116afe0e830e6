"""Playing held-out episodes: success rates, agreement with the teacher, films."""
