"""Memory tasks: what can a recurrent layer remember, and for how long?"""
