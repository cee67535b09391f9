"""The leaderboard as one HTML file that needs nothing else: tables to sort and filter, pictures with their data."""
