"""The delivery process: takes what is due to its receivers, fairly and only to public addresses."""
