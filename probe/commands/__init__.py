"""What each command does. The words of the command line itself stand in `probe.__main__`."""
