"""Next-word prediction: which word follows?"""
