"""What runs beside the web process: the scheduler, the delivery process, the projector."""
