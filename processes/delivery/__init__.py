"""The delivery process: sends what is due, to public addresses only; companies take turns."""
