"""U-Nets: their descriptions, their building blocks, and how far each of them sees."""
