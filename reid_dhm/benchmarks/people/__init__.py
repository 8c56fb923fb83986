"""Finding people over cameras, on footage and in number."""
