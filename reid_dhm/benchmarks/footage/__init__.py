"""Detection, tracking and telling people apart, on footage whose people are known."""
