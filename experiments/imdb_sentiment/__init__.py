"""Film reviews: positive or negative?"""
