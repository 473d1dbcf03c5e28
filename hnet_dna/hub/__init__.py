"""Folders of tracks that genome browsers open: UCSC track hubs, JBrowse 2, igv.js."""
