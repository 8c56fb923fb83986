"""What every request passes before the application, one concern per module."""
