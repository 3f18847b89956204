"""Parts of augmentation that have rules of their own: rectangles, colours, batches mixed by rectangles."""
