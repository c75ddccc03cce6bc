"""What a second paper needs: images, protocols, engine, metrics, runs, tables, figures, notebook."""
