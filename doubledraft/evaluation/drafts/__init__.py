"""Recipes of drafts compared: the same target, the same minutes of training, several seeds.

measure      one draft on the test questions, by the project's own engine
leaderboard  all of them in one table, figure and page
"""
