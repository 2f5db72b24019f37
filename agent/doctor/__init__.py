"""`muster-agent doctor`: does everything that an agent needs work here, and what to do where it doesn't?"""
