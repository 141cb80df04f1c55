"""Where pods come from: manifest files, a URL, and later the API server.

Each source delivers whole sets (`model.Delivery`); `merge` turns them into additions, updates and removals.
"""
